// Events from scores, as pannsx.events.detect finds them; independent of the page, so that it can be tested.
"use strict";

// Each class with its scores, or 0 below the lowest threshold: {label, place, values}.
function unpackScores(data) {
  const bytes = Uint8Array.from(atob(data.values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  let next = 0;
  return data.classes.map((given) => {
    const values = new Float32Array(data.n_frames);
    for (let i = 0; i < given.runs.length; i += 2) {
      for (let j = 0; j < given.runs[i + 1]; j++, next += 4) values[given.runs[i] + j] = view.getFloat32(next, true);
    }
    return { label: given.label, place: given.place, values };
  });
}

// n frames have n + 1 edges, half-way between their centres; the last is the end of the sound.
function frameEdge(i, data) {
  if (i === 0) return 0;
  if (i === data.n_frames) return data.duration_s;
  return Math.min(Math.max(0, data.offset_s + data.hop_s * (i - 0.5)), data.duration_s);
}

// Runs of frames that reach the threshold, joined across short gaps; too short runs are dropped.
function detectEvents(scores, data, threshold) {
  const least = Math.fround(threshold); // scores are float32, and compared as such
  const slack = 1e-6;
  const gap = Math.floor(data.max_gap_s / data.hop_s + slack);
  const events = [];
  for (const { label, place, values } of scores) {
    let start = -1;
    let stop = -1;
    let peak = 0;
    const end = () => {
      const onset_s = frameEdge(start, data);
      const offset_s = frameEdge(stop, data);
      const length = offset_s - onset_s;
      if (length > 0 && length >= data.min_duration_s - slack * data.hop_s) {
        events.push({ label, place, onset_s, offset_s, probability: peak });
      }
    };
    for (let i = 0; i < data.n_frames; i++) {
      if (values[i] < least) continue;
      if (start >= 0 && i - stop > gap) {
        end();
        start = -1;
      }
      if (start < 0) {
        start = i;
        peak = 0;
      }
      stop = i + 1;
      peak = Math.max(peak, values[i]);
    }
    if (start >= 0) end();
  }
  return events.sort((a, b) => a.onset_s - b.onset_s || a.place - b.place);
}

// The table of DESED and DCASE: one event per line.
function eventsToTsv(events, filename) {
  const plain = (text) => text.replace(/[\t\r\n]/g, " ");
  const lines = events.map((event) =>
    [plain(filename), event.onset_s.toFixed(3), event.offset_s.toFixed(3), plain(event.label)].join("\t"),
  );
  return ["filename\tonset\toffset\tevent_label", ...lines].join("\n") + "\n";
}
