// Token ids -> gates, states and answers. x: a step's input, h: state, W x + b and U h: what the gates are made of.

const sigmoid = a => 1 / (1 + Math.exp(-a));
const relu = a => Math.max(0, a);
const zeros = n => new Float64Array(n);
const each = (n, f) => Float64Array.from({ length: n }, (_, k) => f(k));
const sum = values => values.reduce((total, value) => total + value, 0);

// float16 in base64 -> numbers: a sign bit, 5 bits of exponent, 10 of fraction.
function unpack(matrix) {
  const bytes = Uint8Array.from(atob(matrix.halves), c => c.charCodeAt(0)), bits = new DataView(bytes.buffer);
  const half = b => {
    const exponent = (b >> 10) & 31, fraction = b & 1023;
    return (b >> 15 ? -1 : 1) * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024);
  };
  return { ...matrix, halves: null, values: Float32Array.from({ length: bytes.length / 2 }, (_, i) => half(bits.getUint16(2 * i, true))) };
}

// The rows from `first` on of matrix times vector, plus bias.
function times({ values, columns }, vector, rows, first = 0, bias = null) {
  const product = zeros(rows);
  for (let row = 0, at = first * columns; row < rows; row++) {
    let total = bias ? bias.values[first + row] : 0;
    for (let k = 0; k < columns; k++) total += values[at++] * vector[k];
    product[row] = total;
  }
  return product;
}

// The gates' sums W x + U h + b: gate(n, act) is the n-th of them, activated.
function gatesOf({ W, U, b }, x, h) {
  const H = h.length;
  return (n, act) => {
    const fromInput = times(W, x, H, n * H, b), fromState = times(U, h, H, n * H);
    return each(H, k => act(fromInput[k] + fromState[k]));
  };
}

function lstmStep(weights, x, before) {
  const gate = gatesOf(weights, x, before.h), H = before.h.length;
  const i = gate(0, sigmoid), f = gate(1, sigmoid), g = gate(2, Math.tanh), o = gate(3, sigmoid);
  const c = each(H, k => f[k] * before.c[k] + i[k] * g[k]);
  const h = each(H, k => o[k] * Math.tanh(c[k]));
  return { i, f, g, o, c, h };
}

function gruStep(weights, x, { h: before }) {
  const { W, U, b, b_n } = weights, gate = gatesOf(weights, x, before), H = before.length;
  const r = gate(0, sigmoid), z = gate(1, sigmoid);
  const fromInput = times(W, x, H, 2 * H, b), u = times(U, before, H, 2 * H);
  const n = each(H, k => Math.tanh(fromInput[k] + r[k] * (u[k] + b_n.values[k])));
  const h = each(H, k => (1 - z[k]) * n[k] + z[k] * before[k]);
  return { r, z, n, h };
}

function gruBeforeStep(weights, x, { h: before }) {
  const { W, U, b } = weights, gate = gatesOf(weights, x, before), H = before.length;
  const r = gate(0, sigmoid), z = gate(1, sigmoid);
  const fromInput = times(W, x, H, 2 * H, b), u = times(U, each(H, k => r[k] * before[k]), H, 2 * H);
  const n = each(H, k => Math.tanh(fromInput[k] + u[k]));
  const h = each(H, k => (1 - z[k]) * n[k] + z[k] * before[k]);
  return { r, z, n, h };
}

const rnnStep = act => (weights, x, { h }) => ({ h: gatesOf(weights, x, h)(0, act) });

const gate = (title, name) => ({ title, isGate: true, equation: `${name}_t = σ(W_${name} x_t + U_${name} h_{t−1} + b_${name})` });
const at = (column, name, k) => (column ? column[name][k] : 0).toFixed(3);
const GRU_GATES = { r: gate("reset gate: how much of the past the new content sees", "r"), z: gate("update gate: how much of the past is kept", "z") };
const GRU_H = {
  title: "state, which is also the output", equation: "h_t = (1 − z_t) · n_t + z_t · h_{t−1}",
  numbers: (now, before, k) => `(1 − ${at(now, "z", k)}) · ${at(now, "n", k)} + ${at(now, "z", k)} · ${at(before, "h", k)}`,
};
const rnn = act => ({ h: { title: "state, which is also the output", equation: `h_t = ${act}(W x_t + U h_{t−1} + b)` } });
const newContent = sums => ({ title: "new content", equation: `n_t = tanh(${sums})` });
// What a step computes, and what is shown of it.
const CELLS = {
  lstm: { step: lstmStep, shown: {
    i: gate("input gate: how much of the new content enters", "i"),
    f: gate("forget gate: how much of the cell is kept", "f"),
    g: { title: "new content", equation: "g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)" },
    o: gate("output gate: how much of the cell is shown", "o"),
    c: { title: "cell: the private memory", equation: "c_t = f_t · c_{t−1} + i_t · g_t",
         numbers: (now, before, k) => `${at(now, "f", k)} · ${at(before, "c", k)} + ${at(now, "i", k)} · ${at(now, "g", k)}` },
    h: { title: "state: the public output", equation: "h_t = o_t · tanh(c_t)",
         numbers: (now, before, k) => `${at(now, "o", k)} · tanh(${at(now, "c", k)})` },
  } },
  gru: { step: gruStep, shown: { ...GRU_GATES, n: newContent("W_n x_t + b_n + r_t · (U_n h_{t−1} + b′_n)"), h: GRU_H } },
  gru_before: { step: gruBeforeStep, shown: { ...GRU_GATES, n: newContent("W_n x_t + b_n + U_n (r_t · h_{t−1})"), h: GRU_H } },
  rnn_tanh: { step: rnnStep(Math.tanh), shown: rnn("tanh") },
  rnn_relu: { step: rnnStep(relu), shown: rnn("relu") },
};

// Run one direction of a layer. A step is taken from `old` as long as all that was read before is the same object.
function runLoop(loop, inputs, old) {
  const T = inputs.length, columns = new Array(T), place = (j, length) => loop.backward ? length - 1 - j : j;
  let before = { h: zeros(loop.U.columns), c: zeros(loop.U.columns) }, isSame = true;
  for (let j = 0; j < T; j++) {
    const x = inputs[place(j, T)], then = place(j, old.inputs.length);
    isSame = isSame && j < old.inputs.length && old.inputs[then] === x;
    before = columns[place(j, T)] = isSame ? old.columns[then] : CELLS[loop.cell].step(loop, x, before);
  }
  return { inputs, columns, backward: loop.backward, cell: loop.cell };
}

const side = (a, b) => Float64Array.of(...a, ...b);
const mean = (h, D) => each(D, k => h.length ? sum(h.map(step => step[k])) / h.length : 0);
const max = (h, D) => each(D, k => h.length ? h.reduce((most, step) => Math.max(most, step[k]), -Infinity) : 0);
const softmax = a => {
  const most = a.reduce((x, y) => Math.max(x, y), -Infinity), powers = a.map(value => Math.exp(value - most)), total = sum(powers);
  return powers.map(power => power / total);
};
function attention(h, D, { query, score }) {
  const weights = softmax(Float64Array.from(h, step => times(score, times(query.weight, step, D, 0, query.bias).map(Math.tanh), 1)[0]));
  return each(D, k => sum(h.map((step, t) => weights[t] * step[k])));
}
// What each direction says when it has read all: h at the last token, and going backward at the first.
function last(h, D, { isBidirectional }) {
  if (!h.length) return zeros(D);
  const end = h[h.length - 1];
  return isBidirectional ? side(end.subarray(0, D / 2), h[0].subarray(D / 2)) : end;
}
const POOLINGS = { last, mean, max, attention, mean_max: (h, D) => side(mean(h, D), max(h, D)) };

function makeNetwork(spec) {
  const E = unpack(spec.embeddings), loops = spec.layers.map(layer => layer.map(unpackAll)), head = unpackAll(spec.head);
  const rows = Array.from({ length: E.rows }, (_, id) => E.values.subarray(id * E.columns, (id + 1) * E.columns));
  const isBidirectional = loops.at(-1).length > 1, D = sum(loops.at(-1).map(loop => loop.U.columns));
  const pooling = { isBidirectional, query: spec.query && unpackAll(spec.query), score: spec.score && unpack(spec.score) };
  let old = loops.map(layer => layer.map(() => ({ inputs: [], columns: [] })));

  // Read ids; what an earlier call computed of the same beginning is kept.
  return function read(ids) {
    let h = ids.map(id => rows[id]);
    old = loops.map((layer, l) => {
      const runs = layer.map((loop, direction) => runLoop(loop, h, old[l][direction]));
      const [forward, backward] = runs.map(run => run.columns);
      h = backward ? forward.map((column, t) => side(column.h, backward[t].h)) : forward.map(column => column.h);
      return runs;
    });
    if (spec.task === "language" && !h.length) return { layers: old, answers: [] };
    const logits = times(head.weight, POOLINGS[spec.pooling](h, D, pooling), head.weight.rows, 0, head.bias).map(a => a / spec.temperature);
    return { layers: old, answers: spec.answers === "softmax" ? softmax(logits) : logits.map(sigmoid) };
  };
}

function unpackAll(parts) {
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, part?.halves ? unpack(part) : part]));
}
