// Tags a recording with onnxruntime-web. The network and its contract come from `pannsx export`.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

const NETWORK = "network/MobileNetV1_distilled.onnx";
const WINDOW_S = 10; // longer recordings are tagged in windows, as the network was trained
const SHOWN = 5;

ort.env.wasm.numThreads = 1; // more need a page isolated from others (COOP and COEP)
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;

const status = document.getElementById("status");
const contract = await (await fetch(`${NETWORK}.json`)).json();
const session = await ort.InferenceSession.create(NETWORK, { executionProviders: ["wasm"] });
status.textContent = "Choose a recording.";

document.getElementById("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  status.textContent = `Tagging ${file.name} …`;
  try {
    show(await tag(await waveformOf(file)));
    status.textContent = `${file.name}:`;
  } catch (error) {
    show([]);
    status.textContent = `${file.name} cannot be tagged: ${error.message}`;
  }
});

// A file -> mono samples at the network's rate: the browser decodes and resamples.
export async function waveformOf(file) {
  const context = new OfflineAudioContext(1, 1, contract.sample_rate);
  const decoded = await context.decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    decoded.getChannelData(channel).forEach((sample, i) => {
      mono[i] += sample / decoded.numberOfChannels;
    });
  }
  return mono;
}

// Samples -> the greatest probabilities, as the mean over windows weighted by their length.
export async function tag(waveform) {
  if (waveform.length === 0) throw new Error("it holds no sound");
  const length = WINDOW_S * contract.sample_rate;
  const mean = new Float64Array(contract.labels.length);
  for (let start = 0; start < waveform.length; start += length) {
    const window = waveform.slice(start, start + length);
    const input = new ort.Tensor("float32", window, [1, window.length]);
    const { probabilities } = await session.run({ waveform: input }, ["probabilities"]);
    probabilities.data.forEach((probability, k) => {
      mean[k] += (probability * window.length) / waveform.length;
    });
  }
  return contract.labels
    .map(({ name, mid }, k) => ({ name, mid, probability: mean[k] }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, SHOWN);
}

function show(tags) {
  document.getElementById("tags").replaceChildren(
    ...tags.map(({ name, probability }) => {
      const row = document.createElement("tr");
      const meter = Object.assign(document.createElement("meter"), { value: probability });
      for (const content of [probability.toFixed(3), meter, name]) row.insertCell().append(content);
      return row;
    }),
  );
}
