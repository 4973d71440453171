"use strict";
// What needs a script: sorting tables, opening what is linked or printed, the timeline and its filter. Text from the traced process
// only ever becomes text: nothing here writes markup.
(() => {
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const element = (tag, text = "") => {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  };

  // Figures of the JSON report: their exact value and where they stand there.
  document.addEventListener("pointerover", (event) => {
    const figure = event.target.closest && event.target.closest("data");
    if (figure && !figure.title) figure.title = `${figure.value} (JSON: ${figure.dataset.json})`;
  });

  // Sorting: a button in each heading of a table; numbers first go down, words first go up.
  const key = (row, column, isNumber) => {
    const cell = row.cells[column];
    if (!isNumber) return cell.textContent;
    const value = parseFloat(cell.querySelector("data")?.value ?? cell.dataset.value ?? cell.textContent);
    return Number.isNaN(value) ? -1 : value;
  };
  for (const table of all("table.sortable")) {
    const headings = all("thead th", table);
    headings.forEach((heading, column) => {
      const button = element("button", heading.textContent);
      button.type = "button";
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const isNumber = heading.classList.contains("number");
        const before = heading.getAttribute("aria-sort");
        const down = before ? before === "ascending" : isNumber;
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = all("tbody tr", table).map((row) => [key(row, column, isNumber), row]);
        rows.sort(([a], [b]) => (down ? -1 : 1) * (isNumber ? a - b : a.localeCompare(b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // A link to something folded unfolds it; a print shows everything.
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const folded = [];
    for (let at = target && target.closest("details"); at; at = at.parentElement.closest("details")) folded.push(at);
    folded.forEach((details) => { details.open = true; });
    if (folded.length) target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));

  // The timeline.
  let data;
  try {
    data = JSON.parse(document.getElementById("timeline-data")?.textContent ?? "null");
  } catch {
    return;
  }
  if (!data?.requests.length) return;
  const [ROW, ID, START, TOTAL, WAIT, NAME, STATUS, FLAGS, PHASES] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  // Numbers as packed.rs writes them: digits to the base of 32, the lowest first; all but a number's last have 32 added.
  const digits = new Uint8Array(128);
  Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_").forEach((letter, digit) => { digits[letter.charCodeAt(0)] = digit; });
  const unpack = (text) => {
    const numbers = [];
    let number = 0;
    let scale = 1;
    for (let at = 0; at < text.length; at += 1) {
      const digit = digits[text.charCodeAt(at) & 127];
      number += (digit & 31) * scale;
      scale *= 32;
      if (digit < 32) {
        numbers.push(number);
        [number, scale] = [0, 1];
      }
    }
    return numbers;
  };
  const requests = [];
  const numbers = unpack(data.requests);
  for (let at = 0; at < numbers.length;) {
    const request = numbers.slice(at, at + PHASES);
    const end = at + PHASES + 1 + 2 * numbers[at + PHASES];
    request[START] += data.start_ns;
    request.push(numbers.slice(at + PHASES + 1, end));
    requests.push(request);
    at = end;
  }
  let before = "";
  data.names = data.names.map(([same, rest]) => { before = before.slice(0, same) + rest; return before; });
  const view = document.getElementById("timeline-view");
  const canvas = document.getElementById("timeline-canvas");
  const readout = document.getElementById("timeline-readout");
  const context = canvas.getContext("2d");
  view.hidden = false;

  const longest = (request) => {
    let best = -1;
    let most = -1;
    for (let at = 0; at < request[PHASES].length; at += 2) {
      const waits = request[WAIT] > 0 && ["accept_queue", "pool_wait", "loop_wait"].includes(data.phases[request[PHASES][at]]);
      if (!waits && request[PHASES][at + 1] > most) [best, most] = [request[PHASES][at], request[PHASES][at + 1]];
    }
    return best < 0 ? data.phases.length - 1 : best;
  };
  const colourOf = requests.map(longest);
  // The phase that took most of all, and how long.
  const mostlyOf = requests.map((request) => {
    let most = [data.phases.length - 1, 0];
    for (let at = 0; at < request[PHASES].length; at += 2) {
      if (request[PHASES][at + 1] > most[1]) most = request[PHASES].slice(at, at + 2);
    }
    return most;
  });
  // Those that the filter lets through; `null`: there is none.
  let wanted = null;
  // Requests stand in the order of rows and starts. `reach` is the latest end so far in the row: where to begin drawing.
  const rows = data.rows.map((label) => ({ label, from: requests.length, to: 0 }));
  const reach = new Float64Array(requests.length);
  requests.forEach((request, index) => {
    const row = rows[request[ROW]];
    row.from = Math.min(row.from, index);
    row.to = index + 1;
    const end = request[START] + request[TOTAL];
    reach[index] = index > row.from ? Math.max(reach[index - 1], end) : end;
  });
  // What threads did: the end of each piece, and its state. Times in nanoseconds from here on.
  const UNKNOWN = data.states.length;
  const lanesOf = rows.map(() => []);
  for (const [row, start, packed] of data.threads) {
    const pieces = unpack(packed);
    const ends = new Float64Array(pieces.length);
    const states = new Uint8Array(pieces.length);
    let end = start * 1000;
    for (let at = 0; at < ends.length; at += 1) {
      end += Math.floor(pieces[at] / 16) * 1000;
      [states[at], ends[at]] = [pieces[at] % 16, end];
    }
    lanesOf[row].push({ start: start * 1000, ends, states });
  }
  const hasLanes = data.threads.length > 0;
  // Rows of threads without requests come last.
  const served = rows.filter((row) => row.to > row.from).length;
  const first = (from, to, isPast) => {
    while (from < to) {
      const middle = (from + to) >> 1;
      if (isPast(middle)) to = middle; else from = middle + 1;
    }
    return from;
  };

  const AXIS = 22;
  const GUTTER = 4;
  const rowHeight = (rows.length > 200 ? 8 : rows.length > 60 ? 14 : 24) + (hasLanes ? 4 : 0);
  const laneHeight = !hasLanes ? 0 : rowHeight < 20 ? 4 : 8;
  const earliest = Math.min(0, ...rows.slice(0, served).map((row) => requests[row.from][START]));
  const whole = [earliest, Math.max(data.length_ns, 1)];
  let [from, to] = whole;
  let selected = -1;
  let width = 0;
  let left = 0;
  let colours = [];
  let stateColours = [];
  let ink = {};
  let asked = false;

  const duration = (ns) => {
    if (ns < 1000) return `${Math.round(ns)} ns`;
    const units = [["µs", 1e3, 999.5], ["ms", 1e6, 999.5], ["s", 1e9, 999.5], ["min", 60e9, 120], ["h", 3600e9, Infinity]];
    const [name, size] = units.find(([, size, limit]) => ns / size < limit);
    const value = ns / size;
    return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${name}`;
  };

  const percent = (share) => (share > 0 && share < 0.0005 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`);

  const measure = () => {
    const ratio = devicePixelRatio || 1;
    width = canvas.clientWidth;
    const height = AXIS + rows.length * rowHeight;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "11px system-ui, sans-serif";
    left = rowHeight < 13 ? 0 : Math.max(...rows.map((row) => context.measureText(labelOf(row)).width)) + 12;
    const style = getComputedStyle(document.documentElement);
    ink = { text: style.getPropertyValue("--quiet"), line: style.getPropertyValue("--line"), link: style.getPropertyValue("--link"), strong: style.getPropertyValue("--ink") };
    const patches = new Map(all("#timeline-legend rect").map((patch) => [patch.getAttribute("class"), getComputedStyle(patch).fill]));
    colours = data.phases.map((name) => patches.get(name) || ink.text);
    const threads = new Map(all("#timeline-threads rect").map((patch) => [patch.getAttribute("class"), getComputedStyle(patch).fill]));
    stateColours = [...data.states.map((name) => threads.get(name) ?? ""), ink.line];
    draw();
  };
  const draw = () => {
    if (!asked) {
      asked = true;
      requestAnimationFrame(() => { asked = false; paint(); });
    }
  };
  const x = (ns) => left + ((ns - from) / (to - from)) * (width - left);
  const timeAt = (offset) => from + ((offset - left) / (width - left)) * (to - from);

  const axis = () => {
    context.fillStyle = ink.text;
    context.strokeStyle = ink.line;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const rough = (to - from) / Math.max(2, (width - left) / 110);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough) || rough;
    context.beginPath();
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      const place = Math.round(x(at)) + 0.5;
      context.moveTo(place, AXIS - 5);
      context.lineTo(place, canvas.clientHeight);
      context.fillText(at < 0 ? `−${duration(-at)}` : at < step / 2 ? "0" : duration(at), place + 3, AXIS / 2);
    }
    context.stroke();
  };

  // Pieces of less than a pixel share it: the pixel has the colour of what took most of it.
  const sums = new Float64Array(UNKNOWN + 1);
  const paintLane = (lane, top, height) => {
    let pixel = -1;
    const bar = (state, begins, wide) => {
      if (!stateColours[state]) return;
      context.fillStyle = stateColours[state];
      context.fillRect(begins, top, wide, height);
    };
    const close = () => {
      if (pixel < 0) return;
      let best = 0;
      for (let state = 1; state <= UNKNOWN; state += 1) if (sums[state] > sums[best]) best = state;
      bar(best, pixel, 1);
      sums.fill(0);
      pixel = -1;
    };
    const scale = (width - left) / (to - from);
    for (let at = first(0, lane.ends.length, (index) => lane.ends[index] > from); at < lane.ends.length; at += 1) {
      const begin = Math.max(at ? lane.ends[at - 1] : lane.start, from);
      if (begin >= to) break;
      const begins = left + (begin - from) * scale;
      const wide = (Math.min(lane.ends[at], to) - begin) * scale;
      if (wide >= 1) {
        close();
        bar(lane.states[at], begins, wide);
      } else {
        if (Math.floor(begins) !== pixel) close();
        pixel = Math.floor(begins);
        sums[lane.states[at]] += wide;
      }
    }
    close();
  };
  const pieceAt = (number, at) => {
    for (const lane of lanesOf[number]) {
      const index = first(0, lane.ends.length, (piece) => lane.ends[piece] > at);
      const begin = index ? lane.ends[index - 1] : lane.start;
      if (index < lane.ends.length && at >= begin) return [lane.states[index], lane.ends[index] - begin];
    }
    return null;
  };
  const nameOf = (state) => data.states[state] ?? "not known";
  // What the row's threads did between two moments, longest first.
  const doneIn = (number, begin, end) => {
    const total = new Float64Array(UNKNOWN + 1);
    for (const lane of lanesOf[number]) {
      for (let at = first(0, lane.ends.length, (index) => lane.ends[index] > begin); at < lane.ends.length; at += 1) {
        const starts = Math.max(at ? lane.ends[at - 1] : lane.start, begin);
        if (starts >= end) break;
        total[lane.states[at]] += Math.min(lane.ends[at], end) - starts;
      }
    }
    return Array.from(total, (ns, state) => [state, ns]).filter(([, ns]) => ns > 0).sort((a, b) => b[1] - a[1]);
  };

  const paint = () => {
    context.clearRect(0, 0, width, canvas.clientHeight);
    axis();
    const thick = rowHeight - GUTTER - laneHeight;
    rows.forEach((row, number) => {
      const top = AXIS + number * rowHeight + GUTTER / 2;
      const begin = first(row.from, row.to, (index) => reach[index] >= from);
      const end = first(begin, row.to, (index) => requests[index][START] > to);
      for (const lane of lanesOf[number]) paintLane(lane, top + thick + 1, laneHeight - 1);
      if (wanted) {
        context.globalAlpha = 0.15;
        paintBars([begin, end], top, thick, (index) => !wanted[index]);
        context.globalAlpha = 1;
      }
      paintBars([begin, end], top, thick, (index) => !wanted || wanted[index]);
    });
    if (left > 0) labels();
    if (selected >= 0) {
      const request = requests[selected];
      const begins = Math.max(left, x(request[START]));
      const right = Math.min(width + 4, x(request[START] + request[TOTAL]));
      context.strokeStyle = ink.strong;
      context.lineWidth = 2;
      if (right >= left && begins <= width) context.strokeRect(begins - 1, AXIS + request[ROW] * rowHeight + 1, Math.max(4, right - begins + 2), rowHeight - 2);
      context.lineWidth = 1;
    }
  };
  // The bars of a row, of those requests that belong to it.
  const paintBars = ([begin, end], top, thick, belongs) => {
    let drawnTo = -1;
    let waitTo = -1;
    for (let index = begin; index < end; index += 1) {
      if (!belongs(index)) continue;
      const request = requests[index];
      const start = x(request[START]);
      const taken = x(request[START] + request[WAIT]);
      const stop = x(request[START] + request[TOTAL]);
      // What would paint over one pixel again is passed over: a frame costs no more than it has pixels.
      if (taken > start && taken > waitTo && taken > left) {
        context.fillStyle = ink.text;
        context.fillRect(Math.max(start, waitTo, left), top, Math.max(1, Math.min(taken, width) - Math.max(start, waitTo, left)), 2);
        waitTo = Math.max(taken, start + 1);
      }
      if (stop > drawnTo) {
        const begins = Math.max(taken, left);
        context.fillStyle = colours[colourOf[index]];
        context.fillRect(begins, top + 3, Math.max(1, Math.min(stop, width) - begins), thick - 3);
        drawnTo = Math.max(stop, begins + 1);
      }
    }
  };
  // Where there is little room a row has its slot's number alone.
  const labelOf = (row) => (width < 700 ? row.label.split(":")[0] : row.label);
  const labels = () => {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = ink.strong;
    rows.forEach((row, number) => context.fillText(labelOf(row), 5, AXIS + number * rowHeight + rowHeight / 2));
  };

  const look = (start, end) => {
    const length = Math.min(Math.max(end - start, 1000), whole[1] - whole[0]);
    from = Math.min(Math.max(start, whole[0]), whole[1] - length);
    to = from + length;
    draw();
  };
  const zoom = (times, at = (from + to) / 2) => look(at - (at - from) / times, at + (to - at) / times);
  const pan = (share) => look(from + (to - from) * share, to + (to - from) * share);
  const middleOf = (request) => request[START] + (request[WAIT] + request[TOTAL]) / 2;

  const select = (index, reveal = true) => {
    selected = index;
    readout.replaceChildren();
    draw();
    if (index < 0) return;
    const request = requests[index];
    if (reveal) {
      const end = request[START] + request[TOTAL];
      if (end < from || request[START] > to) {
        const length = Math.max(to - from, request[TOTAL] * 1.5);
        look(middleOf(request) - length / 2, middleOf(request) + length / 2);
      }
      const box = canvas.parentElement;
      const top = AXIS + request[ROW] * rowHeight;
      if (top < box.scrollTop || top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
    }
    const full = document.getElementById(`request-${request[ID]}`);
    // The address leads here again. A browser may refuse that of a file: then there is the link.
    try { history.replaceState(null, "", linkOf(request)); } catch {}
    const own = element("a", `#${request[ID]}`);
    own.href = linkOf(request);
    const title = element("h3", ` ${data.names[request[NAME]]}${request[STATUS] ? ` ${request[STATUS]}` : ""}`);
    const doubts = ["still open", "beginning not seen", "records lost"].filter((_, bit) => request[FLAGS] & (1 << bit));
    const facts = [`${duration(request[TOTAL])} in all`, `from ${request[START] < 0 ? "before the window" : duration(request[START])}`, `${duration(request[WAIT])} before its thread took it`, data.rows[request[ROW]], ...doubts];
    title.prepend(own);
    readout.append(title, element("p", facts.join(" · ")));
    const list = document.createElement("ul");
    list.className = "legend";
    const pairs = [];
    for (let at = 0; at < request[PHASES].length; at += 2) pairs.push([request[PHASES][at], request[PHASES][at + 1]]);
    pairs.sort((a, b) => b[1] - a[1]);
    for (const [phase, ns] of pairs) {
      const item = document.createElement("li");
      const patch = document.querySelector(`#timeline-legend .${data.phases[phase]}`);
      if (patch) item.append(patch.parentElement.cloneNode(true));
      item.append(`${data.phases[phase]} ${duration(ns)} (${percent(ns / Math.max(1, request[TOTAL]))})`);
      list.append(item);
    }
    readout.append(list);
    const taken = request[START] + request[WAIT];
    const done = doneIn(request[ROW], taken, request[START] + request[TOTAL]).map(([state, ns]) => `${nameOf(state)} ${duration(ns)}`);
    if (done.length) readout.append(element("p", `Its thread meanwhile, by its calls: ${done.join(", ")}.`));
    if (full) {
      const link = element("a", "in the slowest requests");
      link.href = `#request-${request[ID]}`;
      readout.append(link);
    }
  };
  const nearest = (number, at) => {
    const row = rows[number];
    let best = -1;
    let least = Infinity;
    const end = Math.min(row.to, first(row.from, row.to, (index) => requests[index][START] > at) + 1);
    const begin = Math.max(row.from, Math.min(first(row.from, row.to, (index) => reach[index] >= at), end - 2));
    for (let index = begin; index < end; index += 1) {
      const request = requests[index];
      const taken = request[START] + request[WAIT];
      const stop = request[START] + request[TOTAL];
      const away = at < taken ? taken - at : at > stop ? at - stop : 0;
      if (away < least) [best, least] = [index, away];
    }
    return best;
  };
  const find = (id) => requests.findIndex((request) => request[ID] === id);
  const linkOf = (request) => `#request-${request[ID]}`;

  // The filter: what does not match is pale, what does is listed.
  const LISTED = 50;
  const [words, longer, mostly] = ["words", "longer", "mostly"].map((name) => document.getElementById(`filter-${name}`));
  for (const phase of [...new Set(mostlyOf.map(([phase]) => phase))].sort((a, b) => a - b)) {
    const option = element("option", data.phases[phase]);
    option.value = phase;
    mostly.append(option);
  }
  const filter = () => {
    const parts = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const least = (parseFloat(longer.value.replace(",", ".")) || 0) * 1e6;
    const phase = mostly.value === "" ? -1 : Number(mostly.value);
    const isOff = !parts.length && least <= 0 && phase < 0;
    const list = document.getElementById("filter-list");
    const count = document.getElementById("filter-count");
    const body = list.querySelector("tbody");
    body.replaceChildren();
    list.hidden = true;
    count.textContent = "";
    wanted = null;
    draw();
    if (isOff) return;
    wanted = requests.map((request, index) => {
      const text = `#${request[ID]} ${data.names[request[NAME]]} ${request[STATUS] || "-"} ${data.phases[mostlyOf[index][0]]}`.toLowerCase();
      return request[TOTAL] > least && (phase < 0 || mostlyOf[index][0] === phase) && parts.every((word) => text.includes(word));
    });
    const found = [...requests.keys()].filter((index) => wanted[index]).sort((a, b) => requests[b][TOTAL] - requests[a][TOTAL]);
    count.textContent = `${found.length} of ${requests.length} requests match${found.length > LISTED ? `; the ${LISTED} slowest are listed` : ""}.`;
    list.hidden = !found.length;
    for (const index of found.slice(0, LISTED)) {
      const request = requests[index];
      const [most, ns] = mostlyOf[index];
      const row = document.createElement("tr");
      const cell = (text, isNumber) => {
        const made = element("td", text);
        if (isNumber) made.className = "number";
        row.append(made);
        return made;
      };
      const link = element("a", `#${request[ID]}`);
      link.href = linkOf(request);
      cell("", true).append(link);
      cell(request[START] < 0 ? "before" : duration(request[START]), true);
      cell(duration(request[TOTAL]), true);
      cell(data.names[request[NAME]]);
      cell(request[STATUS] || "-", true);
      cell(data.rows[request[ROW]].split(":")[0]);
      cell(`${data.phases[most]} ${percent(ns / Math.max(1, request[TOTAL]))}`);
      body.append(row);
    }
  };
  for (const input of [words, longer, mostly]) input.addEventListener("input", filter);

  // A link to a request selects it; where it has no place of its own on the page, the timeline is shown.
  const follow = () => {
    const id = /^#request-(\d+)$/.exec(location.hash)?.[1];
    const index = id ? find(Number(id)) : -1;
    if (index < 0) return;
    select(index);
    if (!document.getElementById(`request-${id}`)) view.scrollIntoView();
  };
  addEventListener("hashchange", follow);

  const doing = { in: () => zoom(2), out: () => zoom(0.5), earlier: () => pan(-0.5), later: () => pan(0.5), whole: () => look(...whole) };
  for (const button of all("[data-do]", view)) button.addEventListener("click", doing[button.dataset.do]);
  document.getElementById("timeline-find").addEventListener("change", (event) => {
    const index = find(parseInt(event.target.value.replace("#", ""), 10));
    if (index >= 0) select(index); else readout.replaceChildren(element("p", "This request is not among those shown."));
  });
  for (const exemplar of all(".exemplar")) {
    const index = find(Number(exemplar.dataset.request));
    if (index < 0) continue;
    const button = element("button", exemplar.textContent);
    button.type = "button";
    button.addEventListener("click", () => {
      select(index);
      view.scrollIntoView();
      canvas.focus({ preventScroll: true });
    });
    exemplar.replaceChildren(button);
  }

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const centre = selected >= 0 ? middleOf(requests[selected]) : (from + to) / 2;
    const step = (by) => {
      if (selected < 0) return select(nearest(0, centre));
      const row = rows[requests[selected][ROW]];
      return select(Math.min(Math.max(selected + by, row.from), row.to - 1));
    };
    const change = (by) => {
      const row = selected < 0 ? 0 : Math.min(Math.max(requests[selected][ROW] + by, 0), served - 1);
      select(nearest(row, centre));
    };
    const keys = {
      ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => change(-1), ArrowDown: () => change(1),
      "+": () => zoom(2, centre), "=": () => zoom(2, centre), "-": () => zoom(0.5, centre), PageUp: doing.earlier,
      PageDown: doing.later, Home: doing.whole, Escape: () => select(-1),
    };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.shiftKey) {
      event.preventDefault();
      zoom(1.002 ** -(event.deltaY || event.deltaX), timeAt(event.offsetX));
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      pan(event.deltaX / (width - left));
    }
  }, { passive: false });
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { at: event.clientX, from, to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const under = (offset) => {
      const number = Math.floor((event.offsetY - AXIS) / rowHeight);
      return rows[number] ? nearest(number, timeAt(offset)) : -1;
    };
    if (drag) {
      const by = event.clientX - drag.at;
      drag.moved = drag.moved || Math.abs(by) > 3;
      if (drag.moved) look(drag.from - (by / (width - left)) * (drag.to - drag.from), drag.to - (by / (width - left)) * (drag.to - drag.from));
    } else {
      const number = Math.floor((event.offsetY - AXIS) / rowHeight);
      const inLane = rows[number] && (number >= served || (event.offsetY - AXIS) % rowHeight >= rowHeight - laneHeight - GUTTER / 2);
      const piece = inLane ? pieceAt(number, timeAt(event.offsetX)) : null;
      const index = piece ? -1 : under(event.offsetX);
      if (piece) canvas.title = `${nameOf(piece[0])}, ${duration(piece[1])}`;
      else canvas.title = index < 0 ? "" : `#${requests[index][ID]} ${data.names[requests[index][NAME]]}, ${duration(requests[index][TOTAL])}`;
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const number = Math.floor((event.offsetY - AXIS) / rowHeight);
    if (drag && !drag.moved && rows[number]) select(nearest(number, timeAt(event.offsetX)), false);
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  new ResizeObserver(() => { if (canvas.clientWidth !== width) measure(); }).observe(canvas.parentElement);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", measure);
  measure();
  follow();
})();
