// LETTER-TIGER in plain JavaScript: a T5 of one layer and a beam search over the trie.
// It computes what letterlib/generators/tiger.py computes; tests/unit/test_play.py compares them.
// Vectors are Float32Arrays, and a sequence of states is an array of them.

export const PAD = 0, EOS = 1, FIRST_CODE = 2; // FIRST_CODE: the token of code 0 of level a

// Files

/** Tensors and settings of a file that `Tiger.save` wrote: {name: {data, shape}} and its config. */
export function readSafetensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const read = {
    F16: (bytes) => Float32Array.from(new Uint16Array(bytes), halfToFloat),
    F32: (bytes) => new Float32Array(bytes),
    I64: (bytes) => Array.from(new BigInt64Array(bytes), Number),
  };
  const { __metadata__: metadata, ...entries } = header;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries)) {
    tensors[name] = { data: read[dtype](buffer.slice(8 + length + from, 8 + length + to)), shape };
  }
  return { tensors, config: JSON.parse(metadata.letterlib).config };
}

function halfToFloat(half) {
  const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
  if (exponent === 0) return sign * 2 ** -24 * fraction;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * 2 ** (exponent - 25) * (1024 + fraction);
}

// Arithmetic

/** weight [n, x.length] times x. */
function linear(weight, x) {
  const width = x.length, y = new Float32Array(weight.length / width);
  for (let i = 0, w = 0; i < y.length; i++) {
    let sum = 0;
    for (let j = 0; j < width; j++) sum += weight[w++] * x[j];
    y[i] = sum;
  }
  return y;
}

const add = (x, y) => x.map((value, i) => value + y[i]);

/** Division by the root of the mean square, and a weight per feature. */
function rmsNorm(weight, x) {
  let squares = 0;
  for (const value of x) squares += value * value;
  const scale = 1 / Math.sqrt(squares / x.length + 1e-6);
  return x.map((value, i) => weight[i] * value * scale);
}

/** The logarithms of the softmax of x. */
function logSoftmax(x) {
  const highest = x.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const value of x) sum += Math.exp(value - highest);
  const shift = highest + Math.log(sum);
  return x.map((value) => value - shift);
}

/** T5's bucket of a distance (key position - query position): `relative_position_bucket`. */
function bucket(distance, bidirectional) {
  let n = 32, side = 0;
  if (bidirectional) {
    n = 16;
    side = distance > 0 ? n : 0;
    distance = Math.abs(distance);
  } else {
    distance = Math.max(-distance, 0);
  }
  const exact = n / 2;
  if (distance < exact) return side + distance;
  const ratio = Math.fround(Math.log(distance / exact)) / Math.log(128 / exact);
  return side + Math.min(exact + Math.floor(Math.fround(ratio * (n - exact))), n - 1);
}

// The network

export class Tiger {
  constructor(buffer) {
    const { tensors, config } = readSafetensors(buffer);
    this.config = config;
    this.weights = {};
    for (const [name, { data }] of Object.entries(tensors)) {
      this.weights[name.replace("network.", "").replace(".weight", "")] = data;
    }
    const { codes, level_sizes: sizes } = tensors;
    this.levelSizes = sizes.data;
    const first = sizes.data.map((_, l) => sizes.data.slice(0, l).reduce((a, b) => a + b, FIRST_CODE));
    this.firstToken = first; // of each level
    this.tokens = Array.from({ length: codes.shape[0] }, (_, item) => // [n_items][L]
      first.map((start, l) => start + codes.data[item * first.length + l]));
    this.trie = makeTrie(this.tokens);
  }

  embed(token) {
    const { d_model: d } = this.config;
    return this.weights.embedding.slice(token * d, (token + 1) * d);
  }

  /** One query's attention: softmax(q k' + bias) v, head by head. No division by the width: T5. */
  attend(name, q, keys, values, bias) {
    const { n_heads: heads, d_head: width } = this.config;
    const out = new Float32Array(q.length);
    for (let h = 0; h < heads; h++) {
      const from = h * width, to = from + width;
      const scores = keys.map((key, position) => {
        let sum = bias ? bias(h, position) : 0;
        for (let j = from; j < to; j++) sum += q[j] * key[j];
        return sum;
      });
      const logs = logSoftmax(scores);
      values.forEach((value, position) => {
        const weight = Math.exp(logs[position]);
        for (let j = from; j < to; j++) out[j] += weight * value[j];
      });
    }
    return linear(this.weights[`${name}.o`], out);
  }

  feedForward(name, x) {
    const hidden = linear(this.weights[`${name}.wi`], x).map((value) => Math.max(value, 0));
    return linear(this.weights[`${name}.wo`], hidden);
  }

  /** A bias for `attend`: a learned number per head and distance. */
  positionBias(stack, query, bidirectional) {
    const table = this.weights[`${stack}_bias.table`], { n_heads: heads } = this.config;
    return (head, key) => table[bucket(key - query, bidirectional) * heads + head];
  }

  /** Read a history, item numbers with the newest last; its states, one per token. */
  encode(history) {
    const w = this.weights, items = history.slice(-this.config.history);
    let x = [...items.flatMap((item) => this.tokens[item]), EOS].map((token) => this.embed(token));
    for (let layer = 0; layer < this.config.n_layers; layer++) {
      const name = `encoder.${layer}`;
      const qkv = x.map((row) =>
        split(linear(w[`${name}.self_attention.qkv`], rmsNorm(w[`${name}.norm_self`], row)), 3));
      const keys = qkv.map(([, key]) => key), values = qkv.map(([, , value]) => value);
      x = x.map((row, i) => add(row, this.attend(
        `${name}.self_attention`, qkv[i][0], keys, values, this.positionBias("encoder", i, true))));
      x = x.map((row) => add(row, this.feedForward(`${name}.ff`, rmsNorm(w[`${name}.norm_ff`], row))));
    }
    return x.map((row) => rmsNorm(w.encoder_norm, row));
  }

  /** Per layer, what every decoding step asks of the history: keys and values. */
  memory(history) {
    const states = this.encode(history);
    return Array.from({ length: this.config.n_layers }, (_, layer) => {
      const weight = this.weights[`decoder.${layer}.cross_attention.kv`];
      const pairs = states.map((row) => split(linear(weight, row), 2));
      return { keys: pairs.map(([key]) => key), values: pairs.map(([, value]) => value) };
    });
  }

  /** Write one token after `past`; the log-probabilities of the next one, and the longer past. */
  step(token, past, memory) {
    const w = this.weights, longer = [];
    let x = this.embed(token);
    for (let layer = 0; layer < this.config.n_layers; layer++) {
      const name = `decoder.${layer}`, before = past[layer] ?? { keys: [], values: [] };
      const [q, key, value] =
        split(linear(w[`${name}.self_attention.qkv`], rmsNorm(w[`${name}.norm_self`], x)), 3);
      const keys = [...before.keys, key], values = [...before.values, value];
      longer.push({ keys, values });
      const bias = this.positionBias("decoder", keys.length - 1, false);
      x = add(x, this.attend(`${name}.self_attention`, q, keys, values, bias));
      const cross = linear(w[`${name}.cross_attention.q`], rmsNorm(w[`${name}.norm_cross`], x));
      x = add(x, this.attend(
        `${name}.cross_attention`, cross, memory[layer].keys, memory[layer].values));
      x = add(x, this.feedForward(`${name}.ff`, rmsNorm(w[`${name}.norm_ff`], x)));
    }
    const scale = this.config.d_model ** -0.5;
    const last = rmsNorm(w.decoder_norm, x).map((value) => value * scale);
    return { logProbs: logSoftmax(linear(w.embedding, last)), past: longer };
  }
}

function split(x, parts) {
  const width = x.length / parts;
  return Array.from({ length: parts }, (_, i) => x.subarray(i * width, (i + 1) * width));
}

// The search

/** The identifiers as a tree. A node: its children by token, ascending, and the items below it. */
function makeTrie(tokens) {
  const node = () => ({ children: new Map(), items: [] });
  const root = node();
  const order = tokens.map((_, item) => item).sort((a, b) => compare(tokens[a], tokens[b]));
  for (const item of order) {
    let at = root;
    at.items.push(item);
    for (const token of tokens[item]) {
      if (!at.children.has(token)) at.children.set(token, node());
      at = at.children.get(token);
      at.items.push(item);
    }
  }
  return root;
}

const compare = (a, b) => a.map((token, l) => token - b[l]).find((difference) => difference) ?? 0;

/**
 * Beam search, and everything it kept on its way.
 *
 * history: item numbers, newest last. They are not recommended again.
 * beam: prefixes kept per level.
 * free: any token may follow any other, also where no item is called so; else the trie decides.
 * Returns `levels`, one per code: {kept, considered}, where kept are prefixes {tokens, score, parent},
 * parent being a place among the kept of the level before; and `found`, best first:
 * {tokens, score, item, parent}, with item -1 for a sequence that names none.
 */
export function search(model, history, { beam = model.config.beam, free = false } = {}) {
  const memory = model.memory(history), seen = new Set(history), levels = [];
  const open = (node) => node.items.some((item) => !seen.has(item));
  const extend = (prefix, parent) => {
    const token = prefix.tokens.at(-1) ?? PAD;
    const { logProbs, past } = model.step(token, prefix.past, memory);
    const longer = (next, node) =>
      ({ tokens: [...prefix.tokens, next], score: prefix.score + logProbs[next], node, parent, past });
    if (free) return likeliest(logProbs, beam).map((next) => longer(next, prefix.node?.children.get(next)));
    return [...prefix.node.children].filter(([, node]) => open(node)).map((pair) => longer(...pair));
  };
  let kept = [{ tokens: [], score: 0, node: model.trie, past: [] }];
  for (const _ of model.levelSizes) {
    const candidates = kept.flatMap(extend); // in the order of their prefixes
    kept = bestOf(candidates, beam);
    if (!free) kept.sort((a, b) => compare(a.tokens, b.tokens));
    levels.push({ kept, considered: candidates.length });
  }
  const ended = kept.flatMap((prefix, parent) => {
    const { logProbs } = model.step(prefix.tokens.at(-1), prefix.past, memory);
    const end = (next) => ({
      tokens: next === EOS ? prefix.tokens : [...prefix.tokens, next],
      score: prefix.score + logProbs[next],
      item: next === EOS ? prefix.node?.items[0] ?? -1 : -1, // identifiers are distinct
      parent,
    });
    return (free ? likeliest(logProbs, beam) : [EOS]).map(end);
  });
  return { levels, found: bestOf(ended, beam) };
}

/**
 * n sequences drawn token by token from all tokens; what `search` returns, in the order of drawing.
 *
 * temperature: divides the logits; above 1 unlikely tokens are drawn more often.
 * random: gives numbers from 0 to 1.
 */
export function draw(model, history, { n = 10, temperature = 1.5, random = Math.random } = {}) {
  const memory = model.memory(history), levels = model.levelSizes.map(() => ({ kept: [] })), found = [];
  for (let i = 0; i < n; i++) {
    let sequence = { tokens: [], score: 0, node: model.trie, past: [] };
    for (let level = 0; level <= levels.length; level++) {
      const { logProbs, past } = model.step(sequence.tokens.at(-1) ?? PAD, sequence.past, memory);
      const chances = logSoftmax(logProbs.map((value) => value / temperature)).map(Math.exp);
      let left = random();
      const next = Math.max(0, chances.findIndex((chance) => (left -= chance) <= 0));
      const parent = level ? i : 0, score = sequence.score + logProbs[next];
      if (level === levels.length) {
        const named = next === EOS && sequence.node;
        const tokens = next === EOS ? sequence.tokens : [...sequence.tokens, next];
        found.push({ tokens, score, item: named ? named.items[0] : -1, parent });
      } else {
        const node = sequence.node?.children.get(next);
        sequence = { tokens: [...sequence.tokens, next], score, node, parent, past };
        levels[level].kept.push(sequence);
      }
    }
  }
  return { levels, found };
}

/** The n candidates of highest score, best first; among equals the earlier one. */
function bestOf(candidates, n) {
  return [...candidates].sort((a, b) => b.score - a.score).slice(0, n);
}

/** The n likeliest tokens, in ascending order: no beam of this width can keep more of them. */
function likeliest(logProbs, n) {
  const least = logProbs.slice().sort().at(-n);
  return Array.from(logProbs.keys()).filter((token) => logProbs[token] >= least);
}
