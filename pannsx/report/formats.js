// Downloads of the events, as pannsx.events.formats writes them; independent of the page.
"use strict";

// To the microsecond, without trailing zeros, but at least one digit after the point.
function exactSeconds(seconds) {
  const text = seconds.toFixed(6).replace(/0+$/, "");
  return text.endsWith(".") ? text + "0" : text;
}

const sixDigits = (probability) => String(Number(probability.toPrecision(6)));

const inOneCell = (text) => text.replace(/[\t\r\n]/g, " ");

const quoted = (text) => (/[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text);

// The formats by name: the extension of their files, their media type, and a function from events to text.
const FORMATS = {
  // of DESED and DCASE
  tsv: {
    suffix: ".tsv",
    type: "text/tab-separated-values",
    text(events, data) {
      const name = inOneCell(data.name);
      const rows = events.map((e) => [name, exactSeconds(e.onset_s), exactSeconds(e.offset_s), inOneCell(e.label)]);
      return lines([["filename", "onset", "offset", "event_label"], ...(rows.length ? rows : [[name, "", "", ""]])]);
    },
  },
  csv: {
    suffix: ".csv",
    type: "text/csv",
    text(events, data) {
      const mids = new Map(data.classes.map((each) => [each.label, each.mid || ""]));
      const rows = events.map((e) => [
        data.name, exactSeconds(e.onset_s), exactSeconds(e.offset_s), e.label, mids.get(e.label), sixDigits(e.probability),
      ]);
      const header = ["file", "onset_s", "offset_s", "label", "mid", "probability"];
      const all = [header, ...(rows.length ? rows : [[data.name, "", "", "", "", ""]])];
      return all.map((row) => row.map(quoted).join(",") + "\n").join("");
    },
  },
  audacity: {
    suffix: ".txt",
    type: "text/plain",
    text: (events) => lines(events.map((e) => [exactSeconds(e.onset_s), exactSeconds(e.offset_s), inOneCell(e.label)])),
  },
  raven: {
    suffix: ".selections.txt",
    type: "text/plain",
    text(events, data) {
      const header = [
        "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
        "Begin File", "Begin Path", "Annotation", "Score",
      ];
      const rows = events.map((e, i) => [
        String(i + 1), "Spectrogram 1", "1", exactSeconds(e.onset_s), exactSeconds(e.offset_s), "0.0", "16000.0",
        inOneCell(data.name), inOneCell(data.name), inOneCell(e.label), sixDigits(e.probability),
      ]);
      return lines([header, ...rows]);
    },
  },
};

function lines(rows) {
  return rows.map((row) => row.join("\t") + "\n").join("");
}
