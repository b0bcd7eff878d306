// The page: player, timeline, tracks and table of one recording. events.js finds the events.
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const scores = unpackScores(data);
  const byId = (id) => document.getElementById(id);
  const audio = byId("audio");
  const timeline = byId("timeline");
  const sheet = byId("sheet");
  const MOST_TRACKS = 30;
  const MOST_ROWS = 2000;
  let events = [];
  let sorted = { key: "onset_s", rising: true };
  let position = 0;

  function recompute() {
    const threshold = Number(byId("threshold").value);
    byId("threshold-value").textContent = threshold.toFixed(2);
    events = detectEvents(scores, data, threshold);
    drawTracks();
    fillTable();
  }

  // ---- timeline

  const left = (seconds) => (100 * seconds) / data.duration_s + "%";

  function drawTicks() {
    const ticks = byId("ticks");
    ticks.replaceChildren();
    const room = sheet.clientWidth / 80;
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];
    const step = steps.find((candidate) => data.duration_s / candidate <= room) || 14400;
    for (let i = 0; i * step < data.duration_s; i++) {
      const tick = document.createElement("span");
      tick.style.left = left(i * step);
      tick.textContent = clock(i * step, step < 1);
      ticks.append(tick);
    }
  }

  function clock(seconds, tenths) {
    const whole = tenths ? seconds : Math.round(seconds);
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor(whole / 60) % 60;
    const rest = tenths ? (whole % 60).toFixed(1).padStart(4, "0") : String(whole % 60).padStart(2, "0");
    return (hours ? hours + ":" + String(minutes).padStart(2, "0") : String(minutes)) + ":" + rest;
  }

  function drawTracks() {
    const byLabel = new Map();
    for (const event of events) {
      if (!byLabel.has(event.label)) byLabel.set(event.label, []);
      byLabel.get(event.label).push(event);
    }
    const length = (track) => track.reduce((sum, event) => sum + event.offset_s - event.onset_s, 0);
    const tracks = [...byLabel].sort((a, b) => length(b[1]) - length(a[1])).slice(0, MOST_TRACKS);
    byId("tracks").replaceChildren(
      ...tracks.map(([label, own]) => {
        const track = document.createElement("div");
        track.className = "track";
        const name = document.createElement("span");
        name.className = "name";
        name.textContent = label;
        track.append(name);
        for (const event of own) {
          const bar = document.createElement("div");
          bar.className = "event";
          bar.style.left = left(event.onset_s);
          bar.style.width = left(event.offset_s - event.onset_s);
          bar.style.opacity = String(0.35 + 0.65 * event.probability);
          bar.title = `${label} ${event.onset_s.toFixed(2)} to ${event.offset_s.toFixed(2)} s, ${event.probability.toFixed(2)}`;
          track.append(bar);
        }
        return track;
      }),
    );
  }

  function seek(seconds, play) {
    const target = Math.min(Math.max(0, seconds), data.duration_s);
    show(target);
    if (!audio) return;
    audio.currentTime = target;
    if (play) start();
  }

  function start() {
    audio.play().catch(() => {}); // refused, or paused before it started: the player shows that
  }

  function show(seconds) {
    position = seconds;
    byId("cursor").style.left = left(seconds);
    timeline.setAttribute("aria-valuenow", seconds.toFixed(1));
    timeline.setAttribute("aria-valuetext", clock(seconds, false));
    const x = (sheet.clientWidth * seconds) / data.duration_s;
    if (x < timeline.scrollLeft || x > timeline.scrollLeft + timeline.clientWidth) timeline.scrollLeft = x - 40;
    for (const row of byId("table").tBodies[0].rows) {
      row.classList.toggle("now", row.event.onset_s <= seconds && seconds < row.event.offset_s);
    }
  }

  function follow() {
    show(audio.currentTime);
    if (!audio.paused && !audio.ended) requestAnimationFrame(follow);
  }

  sheet.addEventListener("click", (click) => {
    const box = sheet.getBoundingClientRect();
    seek(((click.clientX - box.left) / box.width) * data.duration_s, false);
  });

  timeline.addEventListener("keydown", (key) => {
    const moves = {
      ArrowLeft: position - 1, ArrowDown: position - 1, ArrowRight: position + 1, ArrowUp: position + 1,
      PageUp: position + 10, PageDown: position - 10, Home: 0, End: data.duration_s,
    };
    if (key.key === " " && audio) {
      if (audio.paused) start();
      else audio.pause();
    } else if (key.key in moves) seek(moves[key.key], false);
    else return;
    key.preventDefault();
  });

  // ---- table

  function shown() {
    const wanted = byId("filter").value.trim().toLowerCase();
    const rows = events.filter((event) => event.label.toLowerCase().includes(wanted));
    const sign = sorted.rising ? 1 : -1;
    const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    return rows.sort((a, b) => sign * order(a[sorted.key], b[sorted.key]) || a.onset_s - b.onset_s);
  }

  function fillTable() {
    const rows = shown();
    byId("table").tBodies[0].replaceChildren(...rows.slice(0, MOST_ROWS).map(rowOf));
    for (const button of document.querySelectorAll("th button")) {
      const own = button.dataset.key === sorted.key;
      const heading = button.parentElement;
      if (own) heading.setAttribute("aria-sort", sorted.rising ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    }
    const classes = new Set(rows.map((event) => event.label)).size;
    const hidden = rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} in the table` : "";
    byId("status").textContent =
      `${rows.length} event${rows.length === 1 ? "" : "s"} of ${classes} class${classes === 1 ? "" : "es"}${hidden}`;
  }

  function rowOf(event) {
    const row = document.createElement("tr");
    row.event = event;
    for (const [text, kind] of [
      [event.onset_s.toFixed(2), "number"], [event.offset_s.toFixed(2), "number"],
      [event.label, ""], [event.probability.toFixed(3), "number"],
    ]) {
      const cell = row.insertCell();
      cell.textContent = text;
      cell.className = kind;
    }
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = audio ? "Play" : "Show";
    button.setAttribute("aria-label", `${button.textContent} ${event.label} at ${event.onset_s.toFixed(2)} seconds`);
    button.addEventListener("click", () => seek(event.onset_s, true));
    row.insertCell().append(button);
    return row;
  }

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const key = button.dataset.key;
      sorted = { key, rising: sorted.key === key ? !sorted.rising : key !== "probability" };
      fillTable();
    });
  }
  byId("filter").addEventListener("input", fillTable);

  byId("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = "data:text/tab-separated-values;charset=utf-8," + encodeURIComponent(eventsToTsv(shown(), data.name));
    link.download = data.name.replace(/\.[^.]*$/, "") + ".tsv";
    link.click();
  });

  // ---- to begin with

  const threshold = byId("threshold");
  threshold.min = data.least_threshold;
  threshold.max = data.most_threshold;
  threshold.value = data.threshold;
  threshold.addEventListener("input", recompute);
  byId("zoom").addEventListener("input", () => {
    const times = byId("zoom").value;
    byId("zoom-value").textContent = times + "×";
    sheet.style.width = 100 * times + "%";
    drawTicks();
    show(position);
  });
  addEventListener("resize", drawTicks);
  timeline.setAttribute("aria-valuemax", data.duration_s.toFixed(1));
  if (audio) {
    audio.addEventListener("play", follow);
    audio.addEventListener("timeupdate", () => show(audio.currentTime));
    audio.addEventListener("seeked", () => show(audio.currentTime));
  }
  drawTicks();
  recompute();
  show(0);
})();
