// The pages of livekeep-web, for browsers with scripts: updates arrive over a WebSocket, times are shown in the reader's zone,
// tables marked data-chart become charts. Without scripts the pages are complete, as of when they were loaded.
"use strict";

(() => {
  const SILENT_MS = 1000;
  const LONGEST_WAIT_MS = 15000;
  const two = (number) => String(number).padStart(2, "0");

  // Times

  const shown = (date, form) => {
    const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    return form === "day" ? day : `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  };

  const localise = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      // A day is in the machine's time zone, wherever the reader is.
      if (element.dataset.form === "day") continue;
      const date = new Date(element.dateTime);
      if (!Number.isNaN(date.getTime())) element.textContent = shown(date, element.dataset.form);
    }
  };

  // Charts: each draws its own table, so that both always agree.

  const charts = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const PALETTE = ["--accent", "--info", "--warn", "--bad", "--ok"];

  const UNITS = [[1, "µs"], [1e3, "ms"], [1e6, "s"], [6e7, "min"], [3.6e9, "h"]];
  const short = (value) => Number(value.toPrecision(3)).toLocaleString("en");
  // Durations are drawn in the unit of the longest, so that the grid lines have round numbers.
  const scale = (unit, datasets) => {
    if (unit !== "duration") return [1, ""];
    const most = Math.max(0, ...datasets.flatMap((set) => set.data));
    return UNITS.filter(([least]) => most >= least).pop() || UNITS[0];
  };

  const read = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const labels = rows.map((row) => row.cells[0].textContent.trim());
    const series = heads.map((head, index) => ({ head, index })).filter(({ head }) => head.dataset.series !== undefined);
    return { labels, datasets: series.map(({ head, index }) => ({
      label: head.textContent.trim(),
      data: rows.map((row) => (row.cells[index].dataset.value === undefined ? null : Number(row.cells[index].dataset.value))),
    })) };
  };

  const draw = (table) => {
    const holder = document.getElementById(table.dataset.chartIn);
    if (!holder || !window.Chart || !table.tBodies[0] || table.tBodies[0].rows.length < 2) return;
    const { labels, datasets } = read(table);
    const [size, name] = scale(table.dataset.unit, datasets);
    const form = (value) => (name ? `${short(value)} ${name}` : short(value));
    for (const set of datasets) set.data = set.data.map((value) => (value === null ? null : value / size));
    const grid = colour("--line"), text = colour("--quiet");
    datasets.forEach((set, index) => {
      const tint = colour(PALETTE[index % PALETTE.length]);
      Object.assign(set, { borderColor: tint, backgroundColor: table.dataset.chart === "bar" ? tint : "transparent", borderWidth: 2,
        pointRadius: labels.length > 60 ? 0 : 2, tension: 0.2, spanGaps: true });
    });
    const earlier = charts.get(holder.id);
    if (earlier && earlier.canvas.isConnected && earlier.livekeepUnit === name) {
      earlier.data.labels = labels;
      earlier.data.datasets.forEach((set, index) => { set.data = datasets[index] ? datasets[index].data : []; });
      earlier.update("none");
      return;
    }
    if (earlier) earlier.destroy();
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${table.caption ? table.caption.textContent.trim() : "Chart"}; the table below has its numbers`);
    holder.replaceChildren(canvas);
    const chart = new window.Chart(canvas, {
      type: table.dataset.chart,
      data: { labels, datasets },
      options: {
        animation: false, responsive: true, maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: { grid: { display: false }, ticks: { color: text, maxRotation: 0, autoSkipPadding: 16 } },
          y: { beginAtZero: true, grid: { color: grid }, ticks: { color: text, callback: (value) => form(value) } },
        },
        plugins: {
          legend: { display: datasets.length > 1, labels: { color: text, boxWidth: 12 } },
          tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${form(item.parsed.y)}` } },
        },
      },
    });
    chart.livekeepUnit = name;
    charts.set(holder.id, chart);
  };

  const drawAll = () => document.querySelectorAll("table[data-chart]").forEach(draw);

  // Updates

  const replace = (element, fragment) => {
    // A fragment in use by the reader is replaced only if the reader's place is kept.
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    const open = [...element.querySelectorAll("details")].map((it, index) => [it.open, it.id, index]).filter(([isOpen]) => isOpen);
    const place = focused && [...element.querySelectorAll("a, button, input, select, summary")].indexOf(focused);
    element.innerHTML = fragment.html;
    element.dataset.live = fragment.stamp;
    const again = [...element.querySelectorAll("details")];
    for (const [, id, index] of open) {
      const same = id ? again.find((it) => it.id === id) : again[index];
      if (same) same.open = true;
    }
    if (focused) {
      const next = element.querySelectorAll("a, button, input, select, summary")[place];
      if (next) next.focus({ preventScroll: true });
    }
    localise(element);
  };

  const live = () => [...document.querySelectorAll("[data-live]")];
  const status = document.querySelector(".connection");
  let socket = null;
  let wait = SILENT_MS;
  let timer = 0;

  const connect = () => {
    if (socket || document.hidden || !live().length) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const page = encodeURIComponent(location.pathname + location.search);
    socket = new WebSocket(`${scheme}//${location.host}/live?page=${page}`);
    socket.onopen = () => {
      wait = SILENT_MS;
      status.hidden = true;
      socket.send(JSON.stringify(Object.fromEntries(live().map((element) => [element.id, element.dataset.live]))));
    };
    socket.onmessage = (message) => {
      const fragments = JSON.parse(message.data);
      for (const [id, fragment] of Object.entries(fragments)) {
        const element = document.getElementById(id);
        if (element) replace(element, fragment);
      }
      drawAll();
    };
    socket.onclose = () => {
      socket = null;
      if (document.hidden) return;
      status.textContent = "Not connected: what you see may be old";
      status.hidden = false;
      clearTimeout(timer);
      timer = setTimeout(connect, wait);
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    };
  };

  document.addEventListener("visibilitychange", () => {
    // Nobody reads, so the server may end.
    if (document.hidden && socket) socket.close();
    else connect();
  });

  const here = document.querySelector(".bar [aria-current]");
  if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
  localise(document);
  const zone = document.querySelector(".zone");
  if (zone) zone.textContent = `are yours (${Intl.DateTimeFormat().resolvedOptions().timeZone || "local"}); days are this machine's`;
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    charts.forEach((chart) => chart.destroy());
    charts.clear();
    drawAll();
  });
  connect();
})();
