// Events from scores, as pannsx.events.detect finds them; independent of the page, so that it can be tested.
"use strict";

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Each class with the runs of frames in which it reaches its floor: {label, place, runs, values, ...}.
// values holds the scores of all runs in order; elsewhere a score counts as 0.
function unpackScores(data) {
  const view = new DataView(bytesOf(data.values).buffer);
  let next = 0;
  return data.classes.map((given) => {
    let n = 0;
    for (let i = 1; i < given.runs.length; i += 2) n += given.runs[i];
    const values = new Float32Array(n);
    let greatest = 0;
    for (let i = 0; i < n; i++, next += 4) {
      values[i] = view.getFloat32(next, true);
      greatest = Math.max(greatest, values[i]);
    }
    return { ...given, values, greatest };
  });
}

// n frames have n + 1 edges, half-way between their centres; the last is the end of the sound.
function frameEdge(i, data) {
  if (i === 0) return 0;
  if (i === data.n_frames) return data.duration_s;
  return Math.min(Math.max(0, data.offset_s + data.hop_s * (i - 0.5)), data.duration_s);
}

// The events with the thresholds of each class, as Python found them.
function ownEvents(data) {
  const labels = new Map(data.classes.map((each) => [each.place, each.label]));
  return data.own_events.map(([place, onset_s, offset_s, probability]) => ({
    label: labels.get(place), place, onset_s, offset_s, probability,
  }));
}

// Runs of frames in which a class reaches the threshold, joined across short gaps; too short ones are dropped.
function detectEvents(scores, data, threshold) {
  const least = Math.fround(threshold); // scores are float32, and compared as such
  const slack = 1e-6;
  const gap = Math.floor(data.max_gap_s / data.hop_s + slack);
  const events = [];
  for (const own of scores) {
    if (own.greatest < least) continue;
    let start = -1;
    let stop = -1;
    let peak = 0;
    const end = () => {
      const onset_s = frameEdge(start, data);
      const offset_s = frameEdge(stop, data);
      const length = offset_s - onset_s;
      if (length > 0 && length >= data.min_duration_s - slack * data.hop_s) {
        events.push({ label: own.label, place: own.place, onset_s, offset_s, probability: peak });
      }
    };
    let next = 0;
    for (let r = 0; r < own.runs.length; r += 2) {
      for (let i = own.runs[r]; i < own.runs[r] + own.runs[r + 1]; i++) {
        const value = own.values[next++];
        if (value < least) continue;
        if (start >= 0 && i - stop > gap) {
          end();
          start = -1;
        }
        if (start < 0) {
          start = i;
          peak = 0;
        }
        stop = i + 1;
        peak = Math.max(peak, value);
      }
    }
    if (start >= 0) end();
  }
  return events.sort((a, b) => a.onset_s - b.onset_s || a.place - b.place);
}

// The events without the parents of what is found, as pannsx.events.hide_parents cuts them: where an event that
// remains of a class below overlaps an event, that part of it is left out, and parts that are then too short.
function hideParents(events, scores, data) {
  const slack = data.rest_slack_s;
  const least = Math.max(data.min_duration_s, data.shortest_rest_s) - slack;
  const byClass = new Map();
  for (const event of events) {
    if (!byClass.has(event.place)) byClass.set(event.place, []);
    byClass.get(event.place).push(event);
  }
  const below = new Map(); // by class, the times of what remains of classes below it
  const found = [];
  // From below: a class has more classes above it than each of these has.
  const above = new Map(scores.map((each) => [each.place, each.above || []]));
  for (const place of [...byClass.keys()].sort((a, b) => above.get(b).length - above.get(a).length)) {
    const covered = unionOf(below.get(place) || []);
    for (const event of byClass.get(place).flatMap((each) => partsOutside(each, covered, least, slack))) {
      found.push(event);
      for (const higher of above.get(place)) {
        if (!below.has(higher)) below.set(higher, []);
        below.get(higher).push([event.onset_s, event.offset_s]);
      }
    }
  }
  return found.sort((a, b) => a.onset_s - b.onset_s || a.place - b.place);
}

function partsOutside(event, covered, least, slack) {
  const parts = [];
  let begin = event.onset_s;
  let isCut = false;
  for (const [onset_s, offset_s] of covered) {
    if (onset_s >= event.offset_s - slack) break;
    if (offset_s <= event.onset_s + slack) continue;
    isCut = true;
    if (onset_s - begin >= least) parts.push({ ...event, onset_s: begin, offset_s: onset_s });
    begin = Math.max(begin, offset_s);
  }
  if (!isCut) return [event];
  if (event.offset_s - begin >= least) parts.push({ ...event, onset_s: begin });
  return parts;
}

// Disjoint intervals that cover the same time, in order.
function unionOf(times) {
  const found = [];
  for (const [onset_s, offset_s] of times.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const last = found[found.length - 1];
    if (last && onset_s <= last[1]) last[1] = Math.max(last[1], offset_s);
    else found.push([onset_s, offset_s]);
  }
  return found;
}
