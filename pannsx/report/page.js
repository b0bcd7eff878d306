// The page: player, timeline, tracks and table of one recording. events.js finds the events, formats.js writes them.
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const scores = unpackScores(data);
  const classOf = new Map(scores.map((each) => [each.place, each]));
  const byId = (id) => document.getElementById(id);
  const audio = byId("audio");
  const timeline = byId("timeline");
  const sheet = byId("sheet");
  const body = byId("table").tBodies[0];
  const MOST_TRACKS = 30;
  const MOST_BARS = 300; // of a track, as they are
  const ROWS = 500; // of the table, at first and each time more are asked for
  const isLong = data.duration_s >= 60;
  let events = [];
  let tracks = [];
  let nRows = ROWS;
  let sorted = { key: "onset_s", rising: true };
  let position = 0;
  let playing = null; // the event that is played, at whose end the player stops

  const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
  const time = (seconds) => (isLong ? clock(seconds, 2) : seconds.toFixed(2));

  function clock(seconds, digits) {
    const step = 10 ** digits;
    const whole = Math.round(seconds * step);
    const two = (n) => String(n).padStart(2, "0");
    const minutes = Math.floor(whole / (60 * step));
    const rest = whole % (60 * step);
    const second = two(Math.floor(rest / step)) + (digits ? "." + String(rest % step).padStart(digits, "0") : "");
    const hours = Math.floor(minutes / 60);
    return hours ? `${hours}:${two(minutes % 60)}:${second}` : `${minutes}:${second}`;
  }

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // Seven chosen colours, then hues far from those before them.
  const groupColour = (group) => (group < 7 ? `var(--g${group})` : `hsl(${(group * 137.5) % 360} 55% var(--lightness))`);

  function colour(element, place) {
    const group = classOf.get(place).group;
    if (group !== undefined) element.style.setProperty("--own", groupColour(group));
  }

  function recompute() {
    const own = data.own_thresholds !== "" && byId("own").checked;
    const threshold = Number(byId("threshold").value);
    byId("threshold-value").textContent = own ? "–" : threshold.toFixed(2);
    byId("threshold").parentElement.classList.toggle("resting", own);
    events = own ? ownEvents(data) : detectEvents(scores, data, threshold);
    if (byId("parents").checked) events = hideParents(events, scores, data);
    nRows = ROWS;
    makeTracks();
    drawLegend();
    fillTable();
  }

  // ---- timeline

  const left = (seconds) => (100 * seconds) / data.duration_s + "%";

  function drawTicks() {
    const ticks = byId("ticks");
    ticks.replaceChildren();
    const width = sheet.clientWidth;
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];
    const step = steps.find((candidate) => data.duration_s / candidate <= width / 80) || 14400;
    for (let i = 0; i * step < data.duration_s; i++) {
      const tick = make("span", "", clock(i * step, step < 1 ? 1 : 0));
      tick.style.left = left(i * step);
      ticks.append(tick);
      if (tick.offsetLeft + tick.offsetWidth > width) tick.textContent = ""; // the line alone: its text would be cut
    }
  }

  // The classes with most time in events, each with its events by onset.
  function makeTracks() {
    const byLabel = new Map();
    for (const event of events) {
      if (!byLabel.has(event.place)) byLabel.set(event.place, { label: event.label, place: event.place, own: [], length: 0 });
      const track = byLabel.get(event.place);
      track.own.push(event);
      track.length += event.offset_s - event.onset_s;
    }
    tracks = [...byLabel.values()].sort((a, b) => b.length - a.length).slice(0, MOST_TRACKS);
    for (const track of tracks) {
      track.element = make("div", "track");
      track.bars = make("div", "bars");
      track.element.append(make("span", "name", track.label), track.bars);
      colour(track.element, track.place);
    }
    byId("tracks").replaceChildren(...tracks.map((track) => track.element));
    drawBars();
  }

  // The bars in view and a view's width to either side; of very many, those less than a pixel apart become one.
  function drawBars() {
    const perSecond = sheet.clientWidth / data.duration_s;
    const from = (timeline.scrollLeft - timeline.clientWidth) / perSecond;
    const to = (timeline.scrollLeft + 2 * timeline.clientWidth) / perSecond;
    for (const track of tracks) {
      const bars = [];
      for (const event of track.own) {
        if (event.offset_s < from || event.onset_s > to) continue;
        const last = bars[bars.length - 1];
        if (last && track.own.length > MOST_BARS && (event.onset_s - last.offset_s) * perSecond < 1) {
          last.offset_s = event.offset_s;
          last.probability = Math.max(last.probability, event.probability);
          last.n++;
        } else bars.push({ ...event, n: 1 });
      }
      track.bars.replaceChildren(...bars.map((bar) => barOf(bar)));
    }
    drawn = timeline.scrollLeft;
  }

  function barOf(bar) {
    const element = make("div", "event");
    element.style.left = left(bar.onset_s);
    element.style.width = left(bar.offset_s - bar.onset_s);
    element.style.opacity = String(0.45 + 0.55 * bar.probability);
    const what = bar.n > 1 ? `${bar.n} events, ${bar.label}` : bar.label;
    element.title = `${what} ${time(bar.onset_s)} to ${time(bar.offset_s)}, ${bar.probability.toFixed(2)}`;
    return element;
  }

  let drawn = 0;
  timeline.addEventListener("scroll", () => {
    if (Math.abs(timeline.scrollLeft - drawn) > timeline.clientWidth / 2) drawBars();
  });

  function drawLegend() {
    const found = new Set(tracks.map((track) => classOf.get(track.place).group).filter((group) => group !== undefined));
    byId("legend").hidden = found.size === 0;
    byId("legend").replaceChildren(
      ...[...found].sort((a, b) => a - b).map((group) => {
        const entry = make("li");
        const swatch = make("span", "swatch");
        swatch.style.setProperty("--own", groupColour(group));
        entry.append(swatch, data.groups[group]);
        return entry;
      }),
    );
  }

  // ---- player

  const now = () => audio.currentTime - data.audio.start_s;

  function seek(seconds, event) {
    const target = Math.min(Math.max(0, seconds), data.duration_s);
    playing = event || null;
    show(target);
    if (!audio) return;
    audio.currentTime = target + data.audio.start_s;
    if (event) start();
  }

  function start() {
    audio.play().catch(() => {}); // refused, or paused before it started: the player shows that
  }

  function follow() {
    if (playing && now() >= playing.offset_s) {
      const end = playing.offset_s;
      playing = null;
      audio.pause();
      audio.currentTime = end + data.audio.start_s;
      show(end);
      return;
    }
    show(now());
  }

  function everyFrame() {
    follow();
    if (!audio.paused && !audio.ended) requestAnimationFrame(everyFrame);
  }

  function show(seconds) {
    position = seconds;
    byId("cursor").style.left = left(seconds);
    timeline.setAttribute("aria-valuenow", seconds.toFixed(1));
    timeline.setAttribute("aria-valuetext", clock(seconds, 0));
    const x = (sheet.clientWidth * seconds) / data.duration_s;
    if (x < timeline.scrollLeft || x > timeline.scrollLeft + timeline.clientWidth) timeline.scrollLeft = x - 40;
    const stops = audio && playing && !audio.paused ? playing : null;
    for (const row of body.rows) {
      row.classList.toggle("now", row.event.onset_s <= seconds && seconds < row.event.offset_s);
      const text = row.event === stops ? "Stop" : audio ? "Play" : "Show";
      if (row.button.textContent !== text) row.button.textContent = text;
    }
  }

  sheet.addEventListener("click", (click) => {
    const box = sheet.getBoundingClientRect();
    seek(((click.clientX - box.left) / box.width) * data.duration_s);
  });

  timeline.addEventListener("keydown", (key) => {
    const moves = {
      ArrowLeft: position - 1, ArrowDown: position - 1, ArrowRight: position + 1, ArrowUp: position + 1,
      PageUp: position + 10, PageDown: position - 10, Home: 0, End: data.duration_s,
    };
    if (key.ctrlKey || key.altKey || key.metaKey) return;
    if (key.key === " " && audio) {
      playing = null;
      if (audio.paused) start();
      else audio.pause();
    } else if (key.key in moves) seek(moves[key.key]);
    else return;
    key.preventDefault();
  });

  // The audio inside the page becomes a file of the browser's own, in which it can seek.
  function takeSound() {
    const given = data.audio;
    if (given.link) audio.src = given.link;
    else {
      const parts = [...document.querySelectorAll("script.sound")].map((element) => {
        element.remove();
        return bytesOf(element.textContent);
      });
      if (audio.canPlayType(given.type) === "") {
        complain("This browser cannot play Ogg Opus; open the page in another one, or make it with --codec mp3.");
        return;
      }
      audio.src = URL.createObjectURL(new Blob(parts, { type: given.type }));
    }
  }

  function complain(text) {
    byId("trouble").textContent = text;
    byId("trouble").hidden = false;
  }

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
    body.replaceChildren(...rows.slice(0, nRows).map(rowOf));
    for (const button of document.querySelectorAll("th button")) {
      const own = button.dataset.key === sorted.key;
      const heading = button.parentElement;
      if (own) heading.setAttribute("aria-sort", sorted.rising ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    }
    const classes = new Set(rows.map((event) => event.label)).size;
    const hidden = rows.length > nRows ? `, the first ${nRows.toLocaleString("en")} in the table` : "";
    byId("status").textContent =
      `${plural(rows.length, "event", "events")} of ${plural(classes, "class", "classes")}${hidden}`;
    byId("table").hidden = rows.length === 0;
    byId("empty").hidden = rows.length > 0;
    if (rows.length === 0) byId("empty").textContent = nothing();
    byId("more").hidden = rows.length <= nRows;
    byId("more").textContent = `Show ${plural(Math.min(ROWS, rows.length - nRows), "more event", "more events")}`;
  }

  function nothing() {
    const wanted = byId("filter").value.trim();
    if (events.length && wanted) {
      return `No event's name contains “${wanted}”: ${plural(events.length, "event is", "events are")} hidden by the filter.`;
    }
    const best = scores.reduce((found, each) => (each.greatest > (found ? found.greatest : 0) ? each : found), null);
    const reached = best ? ` The most probable class, ${best.label}, reaches ${best.greatest.toFixed(2)}.` : "";
    return `No class reaches its threshold.${reached}`;
  }

  function rowOf(event) {
    const row = make("tr");
    row.setAttribute("role", "row");
    row.event = event;
    const cell = (className, ...content) => {
      const made = make("td", className);
      made.setAttribute("role", "cell");
      made.append(...content);
      row.append(made);
    };
    const label = [event.label];
    if (classOf.get(event.place).group !== undefined) {
      const swatch = make("span", "swatch");
      swatch.title = data.groups[classOf.get(event.place).group];
      colour(swatch, event.place);
      label.unshift(swatch);
    }
    cell("time", time(event.onset_s));
    cell("time", time(event.offset_s));
    cell("label", ...label);
    cell("probability", event.probability.toFixed(3));
    const button = make("button", "", audio ? "Play" : "Show");
    button.type = "button";
    button.setAttribute("aria-label", `${button.textContent} ${event.label} at ${time(event.onset_s)}`);
    button.addEventListener("click", () => {
      if (audio && playing === event && !audio.paused) audio.pause();
      else seek(event.onset_s, event);
    });
    row.button = button;
    cell("play", button);
    return row;
  }

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const key = button.dataset.key;
      sorted = { key, rising: sorted.key === key ? !sorted.rising : key !== "probability" };
      fillTable();
    });
  }
  byId("filter").addEventListener("input", () => {
    nRows = ROWS;
    fillTable();
  });
  byId("more").addEventListener("click", () => {
    nRows += ROWS;
    fillTable();
  });

  for (const button of document.querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => {
      const format = FORMATS[button.dataset.format];
      const address = URL.createObjectURL(new Blob([format.text(shown(), data)], { type: format.type }));
      const link = make("a");
      link.href = address;
      link.download = data.name.replace(/\.[^.]*$/, "") + format.suffix;
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    });
  }

  // ---- to begin with

  const threshold = byId("threshold");
  threshold.min = data.least_threshold;
  threshold.max = data.most_threshold;
  threshold.value = data.threshold;
  threshold.addEventListener("input", () => {
    byId("own").checked = false;
    recompute();
  });
  byId("own-thresholds").hidden = data.own_thresholds === "";
  byId("own-name").textContent = data.own_thresholds;
  byId("own").addEventListener("input", recompute);
  byId("parents-label").hidden = !scores.some((each) => (each.above || []).some((place) => classOf.has(place)));
  byId("parents").addEventListener("input", recompute);
  byId("zoom").max = Math.min(400, Math.max(8, Math.ceil(data.duration_s / 10)));
  byId("zoom").addEventListener("input", () => {
    const times = byId("zoom").value;
    byId("zoom-value").textContent = times + "×";
    sheet.style.width = 100 * times + "%";
    redraw();
    show(position);
  });
  function redraw() {
    timeline.style.setProperty("--view", timeline.clientWidth + "px"); // of which names of tracks take all
    drawTicks();
    drawBars();
  }
  addEventListener("resize", redraw);
  timeline.setAttribute("aria-valuemax", data.duration_s.toFixed(1));
  if (audio) {
    audio.addEventListener("play", everyFrame);
    audio.addEventListener("pause", () => show(now()));
    audio.addEventListener("timeupdate", follow);
    audio.addEventListener("seeked", follow);
    audio.addEventListener("seeking", () => {
      if (playing && (now() < playing.onset_s - 0.05 || now() > playing.offset_s)) playing = null; // in the player
    });
    audio.addEventListener("error", () =>
      complain(
        data.audio.link
          ? `The audio cannot be played: this page expects ${data.name} at ${data.audio.link}, in a format that the browser knows.`
          : "The browser cannot play the audio of this page.",
      ),
    );
  }
  document.body.classList.toggle("short", !isLong);
  recompute();
  redraw();
  show(0);
  if (audio) addEventListener("DOMContentLoaded", () => setTimeout(takeSound, 0)); // the audio comes after this script
})();
