// What is drawn: tokens, maps of gates and states, answers. Nothing here computes the network.

const get = id => document.getElementById(id);
const specs = JSON.parse(get("data").textContent);
const made = specs.map(spec => ({ spec, tokenize: makeTokenizer(spec.tokenizer), read: makeNetwork(spec) }));
const GATE_STOPS = [[255, 255, 255], [107, 174, 214], [8, 48, 107]];
const VALUE_STOPS = [[179, 88, 6], [253, 184, 99], [255, 255, 255], [178, 171, 210], [84, 39, 136]];
const GATES = palette(GATE_STOPS), VALUES = palette(VALUE_STOPS);
const MOST_ANSWERS = 12;
let shown = null, pointed = null;  // what is on the page; { name, t, k }, the cell that the reader points at

// 256 colours between the stops, as the four bytes of a pixel.
function palette(stops) {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const x = i / 255 * (stops.length - 1), low = Math.min(Math.floor(x), stops.length - 2);
    const [r, g, b] = stops[low].map((from, part) => Math.round(from + (x - low) * (stops[low + 1][part] - from)));
    return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  });
}

const visible = token => token.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥");
const subscripts = equation => equation.replace(/_(?:\{(.*?)\}|(\w))/g, (_, long, short) => `<sub>${long ?? short}</sub>`);

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function run() {  // the layers of all directions, one after the other, with their names
  const { spec, tokenize, read } = made[get("model").selectedIndex], tokens = tokenize(get("text").value);
  const { layers, answers } = read(tokens.map(token => token.id));
  const runs = layers.flatMap((layer, l) => layer.map(one => ({ ...one, name: `${l + 1}${layer.length > 1 ? one.backward ? ", read from the end" : ", read from the start" : ""}` })));
  return { spec, tokens, runs, answers };
}

function drawTokens({ tokens }) {
  const row = get("tokens");
  tokens.forEach((token, t) => {
    const cell = row.children[t] ?? row.appendChild(element("span"));
    const text = visible(token.text), kind = token.isSpecial ? "special" : token.isUnknown ? "unknown" : "";
    if (cell.textContent !== text) cell.textContent = text;
    if (cell.className !== kind) cell.className = kind;
    if (cell.title !== text) cell.title = text;
  });
  while (row.children.length > tokens.length) row.lastChild.remove();
}

function drawMap(name, columns, isGate) {
  const canvas = get(`map-${name}`), T = columns.length, H = T ? columns[0][name].length : 1;
  const most = isGate ? 1 : columns.reduce((top, column) => column[name].reduce((high, v) => Math.max(high, Math.abs(v)), top), 1);
  const image = new ImageData(Math.max(T, 1), H), pixels = new Uint32Array(image.data.buffer), colours = isGate ? GATES : VALUES;
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < H; k++) pixels[k * T + t] = colours[Math.round(255 * (isGate ? columns[t][name][k] : (columns[t][name][k] / most + 1) / 2))];
  }
  canvas.width = image.width;
  canvas.height = H;
  canvas.style.width = `calc(${T} * var(--cell))`;
  canvas.style.height = `${H * Math.max(2, Math.min(6, 150 / H))}px`;
  canvas.getContext("2d").putImageData(image, 0, 0);
  get(`range-${name}`).textContent = isGate ? "" : ` (colours from −${most.toFixed(1)} to ${most.toFixed(1)})`;
}

function drawAnswers({ spec, answers }) {
  const isLanguage = spec.task === "language", names = spec.labels ?? spec.tokenizer.vocabulary;
  const falling = Array.from(answers.keys()).sort((a, b) => answers[b] - answers[a]), [best] = falling;
  // A few labels keep their places.
  const order = isLanguage || falling.length > MOST_ANSWERS ? falling.slice(0, MOST_ANSWERS) : falling.sort((a, b) => a - b);
  const list = get("answers");
  order.forEach((i, place) => {
    const item = list.children[place] ?? list.appendChild(answerRow(isLanguage)), [name, bar, number] = item.firstChild.children;
    item.className = i === best ? "best" : "";
    item.firstChild.dataset.token = names[i] ?? "";
    name.textContent = isLanguage ? visible(names[i] ?? `token ${i}`) : names[i];
    bar.firstChild.style.width = `${100 * answers[i]}%`;
    number.textContent = `${(100 * answers[i]).toFixed(1)} %`;
  });
  while (list.children.length > order.length) list.lastChild.remove();
}

function answerRow(isLanguage) {
  const item = element("li"), row = item.appendChild(element(isLanguage ? "button" : "div"));
  row.append(element("span", "name"), element("span", "bar"), element("span", "number"));
  row.children[1].append(element("i"));
  if (isLanguage) row.onclick = () => append(row.dataset.token);
  return item;
}

function append(token) {
  if (made[get("model").selectedIndex].spec.tokenizer.special.some(([name]) => name === token)) return;
  const isSpaced = made[get("model").selectedIndex].spec.tokenizer.kind !== "char";
  get("text").value += (isSpaced ? " " : "") + token;
  update();
}

function drawReadout() {
  const { columns, cell } = shown.runs[get("layer").selectedIndex], output = get("readout"), cursor = get("cursor");
  const what = pointed && columns[pointed.t] && CELLS[cell].shown[pointed.name];
  cursor.hidden = !what;
  if (!what) { output.textContent = "Point at a cell of a map, or tap it."; return; }
  const { name, t, k } = pointed, now = columns[t], before = columns[t + (shown.runs[get("layer").selectedIndex].backward ? 1 : -1)];
  cursor.style.left = `calc(${t} * var(--cell))`;
  const value = now[name][k].toFixed(4), sums = what.numbers ? ` = ${what.numbers(now, before, k)}` : "";
  const place = element("span", "", ` ${what.title.split(":")[0]}, token ${t + 1} “${visible(shown.tokens[t].text)}”, unit ${k + 1}`);
  const equation = element("span", "equation");
  equation.innerHTML = `${subscripts(what.equation)}${sums}`;  // of our own making: no text of the reader is in it
  output.replaceChildren(element("b", "", `${name} = ${value}`), place, equation);
}

function makeMaps() {  // anew where the model or the layer is another
  const { runs } = shown, maps = get("maps");
  maps.querySelectorAll(".map").forEach(map => map.remove());
  for (const [name, { title, isGate }] of Object.entries(CELLS[runs[get("layer").selectedIndex].cell].shown)) {
    const map = maps.appendChild(element("figure", "map")), caption = map.appendChild(element("figcaption"));
    caption.append(element("b", "", name), `  ${title}`, Object.assign(element("small"), { id: `range-${name}` }));
    const canvas = Object.assign(element("canvas"), { id: `map-${name}`, tabIndex: 0 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name}, ${title}: a column for each token, a row for each unit. Arrow keys move.`);
    canvas.onpointermove = canvas.onpointerdown = event => {
      const box = canvas.getBoundingClientRect(), part = (at, from, size, count) => Math.max(0, Math.min(count - 1, Math.floor((at - from) / size * count)));
      pointed = { name, t: part(event.clientX, box.left, box.width, canvas.width), k: part(event.clientY, box.top, box.height, canvas.height) };
      drawReadout();
    };
    canvas.onkeydown = event => {
      const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
      if (!right && !down) return;
      const { t, k } = pointed?.name === name ? pointed : { t: 0, k: 0 }, within = (x, count) => Math.max(0, Math.min(count - 1, x));
      pointed = { name, t: within(t + right, canvas.width), k: within(k + down, canvas.height) };
      event.preventDefault();
      drawReadout();
    };
    map.append(canvas);
  }
}

function update() {  // on each keystroke
  const start = performance.now(), maps = get("maps"), text = get("text");
  shown = run();
  drawTokens(shown);
  const { cell, columns } = shown.runs[get("layer").selectedIndex];
  for (const [name, { isGate }] of Object.entries(CELLS[cell].shown)) drawMap(name, columns, isGate);
  drawAnswers(shown);
  drawReadout();
  // Reading the width makes the browser lay the page out, which the reader waits for too.
  if (text.selectionEnd === text.value.length) maps.scrollLeft = maps.scrollWidth;
  hfseqExplorer.lastMs = performance.now() - start;
}

function chooseModel() {
  const { spec } = made[get("model").selectedIndex], readsLetters = spec.tokenizer.kind === "char";
  document.body.classList.toggle("letters", readsLetters);
  document.body.classList.toggle("short", readsLetters && spec.task === "language");
  document.documentElement.style.setProperty("--cell", readsLetters ? "18px" : "76px");
  get("text").value = spec.example;
  get("answers").replaceChildren();
  get("asked").textContent = spec.task === "language" ? "What comes next? (a click writes it)" : "What is it?";
  shown = run();
  get("layer").replaceChildren(...shown.runs.map(({ name }) => element("option", "", name)));
  get("layers").hidden = shown.runs.length < 2;
  chooseLayer();
}

function chooseLayer() {
  pointed = null;
  makeMaps();
  update();
}

// What tests and the curious ask: the milliseconds of the last keystroke, and all numbers of a text.
window.hfseqExplorer = {
  lastMs: 0,
  read: (text, number = 0) => {
    const tokens = made[number].tokenize(text), { layers, answers } = made[number].read(tokens.map(token => token.id));
    return { ids: tokens.map(token => token.id), layers, answers };
  },
};
for (const [name, stops] of [["gate", GATE_STOPS], ["value", VALUE_STOPS]]) {
  document.querySelector(`i.${name}`).style.background = `linear-gradient(90deg, ${stops.map(stop => `rgb(${stop})`)})`;
}
get("model").replaceChildren(...specs.map(({ name }) => element("option", "", name)));
get("models").hidden = specs.length < 2;
get("model").onchange = chooseModel;
get("layer").onchange = chooseLayer;
get("text").oninput = update;
chooseModel();
