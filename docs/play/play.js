// The page: what one chooses, the list, and the walk of the beam. The model is in model.js.

import { Tiger, draw, search } from "./model.js";

const LEVELS = "abcd", PLACES = 10, PAUSE = 900; // milliseconds a step
const ABOUT = {
  both: "LETTER: films begin alike if they are about the same and the same people watch them.",
  text: "A plain RQ-VAE on title and genres, as in TIGER. It does not know who watched what.",
  audience: "A plain RQ-VAE on the vectors of a SASRec. It has never read a title.",
};
const WAYS = {
  trie: "Beam search over codes that lead to a film.",
  free: "Beam search without the trie. Any token may follow, yet nearly every sequence names a film: the model knows the catalogue by heart.",
  draw: "No trie and no beam: ten sequences are drawn at temperature 1.5. Four in ten name no film.",
};
const $ = (id) => document.getElementById(id);
const state = { films: [], signals: "both", way: "trie", step: 0, timer: null, result: null };
let catalogue; // titles, years, genres, counts and so on: one of each per film
const models = {}; // by what their identifiers were learned from: promises

/** An element: make("li", {class: "film"}, child, "text", ...). */
function make(name, attributes = {}, ...children) {
  const svg = ["g", "path", "rect", "text", "title"].includes(name);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

async function fetched(file) {
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${file}: ${answer.status} ${answer.statusText}`);
  return answer;
}

const model = (signals) => models[signals] ??=
  fetched(`${signals}.safetensors`).then(async (answer) => new Tiger(await answer.arrayBuffer()));

// Films and codes

const label = (film) => `${catalogue.short[film]} (${catalogue.years[film]})`;

/** A token as [level, code]; the end is ["end", ""]. */
function codeOf(token, { firstToken }) {
  const level = firstToken.findLastIndex((first) => token >= first);
  return level < 0 ? ["end", ""] : [LEVELS[level], token - firstToken[level]];
}

/** Chips of an identifier; `alike` codes at its beginning are marked. */
function chips(tokens, network, alike = 0) {
  return make("div", { class: "codes" }, ...tokens.map((token, i) => {
    const [level, code] = codeOf(token, network);
    return make("span", { class: `code ${level}${i < alike ? " shared" : ""}` }, level === "end" ? "end" : `${level}_${code}`);
  }));
}

/** How many codes two identifiers have in common from the first on. */
function sharedCodes(x, y) {
  const different = x.findIndex((token, i) => token !== y[i]);
  return different < 0 ? x.length : different;
}

/** The best-known films that share the longest beginning, of two codes or more, with this one. */
function neighbours(film, network) {
  for (let n = 3; n >= 2; n--) {
    const found = network.tokens.map((_, other) => other).filter((other) =>
      other !== film && sharedCodes(network.tokens[film], network.tokens[other]) >= n);
    if (found.length) return found.sort((x, y) => catalogue.counts[y] - catalogue.counts[x]).slice(0, 3);
  }
  return [];
}

function title(film, ...more) {
  return make("div", { class: "name" },
    make("span", {}, catalogue.short[film], " ", make("span", { class: "year" }, `${catalogue.years[film]}`)), ...more);
}

function showChosen(network) {
  const unread = state.films.length - network.config.history;
  $("chosen").replaceChildren(...state.films.map((film, i) => {
    const remove = make("button", { type: "button", class: "remove", "aria-label": `Remove ${label(film)}` }, "×");
    remove.addEventListener("click", () => {
      state.films = state.films.filter((other) => other !== film);
      update();
      $("query").focus();
    });
    const near = neighbours(film, network).map((other) => catalogue.short[other]);
    return make("li", { class: "film" }, title(film, remove), chips(network.tokens[film], network),
      make("small", {}, i < unread ? "Not read: too long ago." : near.length ? `Begins like ${near.join("; ")}` : "No other film begins with these two codes."));
  }));
  const n = network.config.history;
  $("reads").textContent = state.films.length
    ? unread > 0 ? `The model reads the last ${n} of these.` : `The model reads the last ${n} films that you add.`
    : "Without films the model writes what people watch in general.";
}

// The list

const percent = (score) => {
  const value = 100 * Math.exp(score);
  return value >= 0.1 ? `${value.toFixed(1)}%` : value >= 0.01 ? `${value.toFixed(2)}%` : "<0.01%";
};

function showList(network, found, usual, milliseconds) {
  const top = found.slice(0, PLACES), best = Math.exp(Math.max(...top.map(({ score }) => score)));
  $("list").replaceChildren(...top.map(({ tokens, score, item }) => {
    const chance = make("span", { class: "chance", title: "How probable the model finds this identifier" }, percent(score));
    const bar = make("div", { class: "bar", style: `width: ${Math.max(1, (100 * Math.exp(score)) / best)}%` });
    const alike = Math.max(0, ...state.films.map((film) => sharedCodes(tokens, network.tokens[film])));
    const tag = state.films.includes(item) ? "yours" : usual && item >= 0 && !usual.has(item) ? "new" : "";
    const name = item < 0
      ? make("div", { class: "name nothing" }, make("span", {}, "Names no film"), chance)
      : title(item, make("span", {}, tag && make("span", { class: "tag" }, tag), " ", chance));
    return make("li", { class: "film" }, make("div", {}, name, chips(tokens, network, alike), bar));
  }));
  const named = top.filter(({ item }) => item >= 0).length;
  const same = usual && top.filter(({ item }) => usual.has(item)).length;
  const what = state.way !== "trie"
    ? `${named} of ${top.length} sequences name a film.`
    : usual ? `${same} of ${top.length} are also in the list of both.` : "Codes in a frame are shared with one of your films.";
  $("summary").textContent = `${what} Found in ${Math.round(milliseconds)} ms.`;
  $("list-title").textContent = state.way !== "trie" ? "Ten sequences" : "Ten films";
}

// The beam

/** What happened in a step, from 0 (nothing is written) to 5 (the end token). */
function explanation(network, { levels, found }, step) {
  const name = (tokens) => tokens.map((token) => codeOf(token, network).join("_").replace(/_$/, "")).join(" ");
  if (step === 0) return "The model has read the codes of your films, and has written nothing yet. Press Play, or Step.";
  if (step <= levels.length) {
    const { kept, considered } = levels[step - 1];
    const best = kept.reduce((x, y) => (y.score > x.score ? y : x));
    if (state.way === "draw") return `Code ${step} of ${levels.length}: each of ${kept.length} sequences draws its next token. They do not compete.`;
    const free = state.way === "free", choice = free ? "any token may follow" : step === 1 ? "codes begin a film's identifier" : "continuations lead to a film";
    return `Code ${step} of ${levels.length}: ${considered.toLocaleString("en")} ${free ? "sequences, as " : ""}${choice}. ` +
      `The ${kept.length} most probable stay. The best is ${name(best.tokens)}, ${percent(best.score)}.`;
  }
  if (state.way === "draw") return `The ten sequences have ended. ${found.filter(({ item }) => item < 0).length} of them name no film.`;
  const first = found[0];
  return `Each sequence ends, and its tokens' probabilities multiply to its score. The best ${Math.min(PLACES, found.length)} make the list. ` +
    `First: ${first.item < 0 ? `${name(first.tokens)}, which names no film` : label(first.item)}, ${percent(first.score)}.`;
}

function showBeam(network, moves = false) {
  const { levels, found } = state.result, svg = $("tree"), step = state.step;
  const width = svg.clientWidth || 320, wide = width >= 480, top = 24;
  const row = wide ? 27 : 22, rows = Math.max(...levels.map(({ kept }) => kept.length)), height = top + rows * row;
  const leaves = wide ? Math.min(230, width * 0.4) : 0, pill = wide ? 44 : 42;
  const space = (width - leaves - 16 - pill) / levels.length;
  const x = (level) => 8 + level * space; // the left edge of a node; level 0 is the start
  const y = (level, i) => top + (height - top) * ((i + 0.5) / (level ? levels[level - 1].kept.length : 1));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);

  // At the end, what leads to the list stands out.
  const ended = step > levels.length, places = new Map();
  found.slice(0, PLACES).forEach(({ parent }, place) => places.has(parent) || places.set(parent, place));
  const leading = levels.map(() => new Set());
  for (let parent of places.keys()) {
    for (let level = levels.length; level > 0; level--) {
      leading[level - 1].add(parent);
      parent = levels[level - 1].kept[parent].parent;
    }
  }
  const dim = (level, i) => (ended ? !leading[level - 1].has(i) : level < step && !goesOn(level, i));
  const goesOn = (level, i) => level === levels.length || levels[level].kept.some(({ parent }) => parent === i);

  const parts = [make("g", { class: "node end" },
    make("rect", { x: 8, y: y(0, 0) - 9, width: 18, height: 18, rx: 9 }))];
  levels.slice(0, step).forEach(({ kept }, index) => {
    const level = index + 1, best = Math.max(...kept.map(({ score }) => score));
    const edges = [], nodes = [];
    kept.forEach(({ tokens, score, parent }, i) => {
      const fromX = level === 1 ? 26 : x(level - 1) + pill, fromY = y(level - 1, parent ?? 0);
      const middle = (fromX + x(level)) / 2, hidden = dim(level, i) ? " dim" : "";
      const bestPath = ended && leads(levels, found[0].parent, level) === i ? " best" : "";
      edges.push(make("path", {
        class: `edge${hidden}${bestPath}`, "stroke-width": 1 + 2.5 * Math.exp(score - best),
        d: `M${fromX} ${fromY} C${middle} ${fromY} ${middle} ${y(level, i)} ${x(level)} ${y(level, i)}`,
      }));
      const [kind, code] = codeOf(tokens.at(-1), network);
      nodes.push(make("g", { class: `node ${kind}${hidden}` },
        make("rect", { x: x(level), y: y(level, i) - 9, width: pill, height: 18, rx: 5 }),
        make("text", { x: x(level) + pill / 2, y: y(level, i) + 4, "text-anchor": "middle" }, kind === "end" ? "end" : `${kind}_${code}`)));
    });
    parts.push(make("g", { class: moves && level === step ? "step" : "" }, ...edges, ...nodes,
      make("text", { class: "heading", x: x(level) + pill / 2, y: 12, "text-anchor": "middle" }, `code ${level}`)));
  });
  if (ended && wide) {
    const from = x(levels.length) + pill + 8, letters = Math.floor((width - from) / 6.9);
    parts.push(make("g", { class: moves ? "step" : "" }, ...levels.at(-1).kept.map(({ node }, i) => {
      const item = node?.items[0] ?? -1, place = places.get(i);
      const name = item < 0 ? "names no film" : catalogue.short[item];
      const text = place === undefined ? name : `${place + 1}. ${name}`;
      return make("text", { x: from, y: y(levels.length, i) + 4, class: `leaf${place === undefined ? " dim" : " top"}${item < 0 ? " wrong" : ""}` },
        text.length > letters ? `${text.slice(0, letters - 1).trimEnd()}…` : text);
    })));
  }
  svg.replaceChildren(...parts);
  $("explain").textContent = explanation(network, state.result, step);
  $("step").disabled = ended;
  $("restart").disabled = step === 0;
  $("play").textContent = state.timer ? "Pause" : ended ? "Replay" : "Play";
}

/** Which of the kept of `level` the sequence ending in place `parent` of the last one goes through. */
function leads(levels, parent, level) {
  for (let at = levels.length; at > level; at--) parent = levels[at - 1].kept[parent].parent;
  return parent;
}

function stop() {
  clearInterval(state.timer);
  state.timer = null;
}

async function walk(step) {
  state.step = Math.min(step, state.result.levels.length + 1);
  if (state.step > state.result.levels.length) stop();
  showBeam(await model(state.signals), true);
}

function play() {
  if (state.timer) {
    stop();
    return walk(state.step);
  }
  if (state.step > state.result.levels.length) state.step = 0;
  state.timer = setInterval(() => walk(state.step + 1), PAUSE);
  return walk(state.step);
}

// From a choice to what is shown

async function update() {
  stop();
  const { films, signals, way } = state;
  $("about").textContent = ABOUT[signals];
  $("about-way").textContent = WAYS[way];
  const network = await model(signals);
  const usual = signals === "both" || way !== "trie" ? null
    : new Set(search(await model("both"), films).found.slice(0, PLACES).map(({ item }) => item));
  if (films !== state.films || signals !== state.signals || way !== state.way) return; // a newer choice
  const start = performance.now();
  state.result = way === "draw" ? draw(network, films) : search(network, films, { free: way === "free" });
  const milliseconds = performance.now() - start;
  state.step = state.result.levels.length + 1;
  showChosen(network);
  showList(network, state.result.found, usual, milliseconds);
  showBeam(network);
  const address = new URLSearchParams({ films: films.join(","), signals, ...(way !== "trie" && { way }) });
  history.replaceState(null, "", `#${address}`);
}

// Choosing

const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** The films whose titles have all words of a query, those that begin with it first. */
function matches(query) {
  const words = plain(query).split(/\s+/).filter(Boolean);
  const rank = (film) => (catalogue.plain[film].replace(/^(the|a|an) /, "").startsWith(words.join(" ")) ? 1e6 : 0) + catalogue.counts[film];
  return catalogue.titles.map((_, film) => film)
    .filter((film) => !state.films.includes(film) && words.every((word) => catalogue.plain[film].includes(word)))
    .sort((x, y) => rank(y) - rank(x)).slice(0, 7);
}

function showOptions(films) {
  const input = $("query");
  $("options").replaceChildren(...films.map((film, i) => {
    const option = make("li", { role: "option", id: `option-${i}`, "aria-selected": String(i === 0), "data-film": film },
      label(film), make("br"), make("small", {}, catalogue.genres[film]));
    option.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays
    option.addEventListener("click", () => choose(film));
    return option;
  }));
  $("options").hidden = !films.length;
  input.setAttribute("aria-expanded", String(films.length > 0));
  select(films.length ? 0 : -1);
}

function select(index) {
  const options = [...$("options").children];
  options.forEach((option, i) => option.setAttribute("aria-selected", String(i === index)));
  if (index >= 0) $("query").setAttribute("aria-activedescendant", `option-${index}`);
  else $("query").removeAttribute("aria-activedescendant");
}

function choose(film) {
  state.films = [...state.films, film];
  $("query").value = "";
  showOptions([]);
  return update();
}

function keyPressed(event) {
  const options = [...$("options").children];
  const selected = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  if (event.key === "Escape") showOptions([]);
  else if (event.key === "ArrowDown" && !options.length) showOptions(matches($("query").value));
  else if (event.key === "ArrowDown") select((selected + 1) % options.length);
  else if (event.key === "ArrowUp" && options.length) select((selected - 1 + options.length) % options.length);
  else if (event.key === "Enter" && selected >= 0) choose(Number(options[selected].dataset.film));
  else return;
  event.preventDefault();
}

/** What the address says: #films=1,2&signals=text&way=free; else the example of four films. */
function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  if (Object.hasOwn(ABOUT, address.get("signals"))) state.signals = address.get("signals");
  if (Object.hasOwn(WAYS, address.get("way"))) state.way = address.get("way");
  const films = (address.get("films") ?? "").split(",").filter(Boolean).map(Number)
    .filter((film) => film in catalogue.titles);
  state.films = address.has("films") ? [...new Set(films)] : example(document.querySelector("[data-films]"));
  document.querySelector(`[name="signals"][value="${state.signals}"]`).checked = true;
  document.querySelector(`[name="way"][value="${state.way}"]`).checked = true;
}

const example = (button) => button.dataset.films.split("|").map((name) => catalogue.titles.indexOf(name)).filter((film) => film >= 0);

async function start() {
  catalogue = await (await fetched("films.json")).json();
  catalogue.plain = catalogue.titles.map((name, film) => `${plain(name)} ${catalogue.years[film]}`);
  catalogue.short = catalogue.titles.map((name) => name.replace(/( \([^)]*\))+$/, "")); // no second title
  readAddress();

  const query = $("query");
  query.addEventListener("input", () => showOptions(query.value.trim() ? matches(query.value) : []));
  query.addEventListener("keydown", keyPressed);
  query.addEventListener("blur", () => showOptions([]));
  for (const button of document.querySelectorAll("[data-films]")) {
    button.addEventListener("click", () => {
      state.films = example(button);
      update();
    });
  }
  for (const input of document.querySelectorAll("[type=radio]")) {
    input.addEventListener("change", () => {
      state[input.name] = input.value;
      update();
    });
  }
  $("play").addEventListener("click", play);
  $("step").addEventListener("click", () => (stop(), walk(state.step + 1)));
  $("restart").addEventListener("click", () => (stop(), walk(0)));
  addEventListener("resize", async () => state.result && showBeam(await model(state.signals)));
  addEventListener("hashchange", () => (readAddress(), update()));
  await update();
  document.querySelector("main").classList.remove("loading");
}

start().catch((error) => {
  $("summary").textContent = location.protocol === "file:"
    ? "A page opened from a file may not read its models. Serve the folder: python -m http.server -d docs/play, then open http://localhost:8000"
    : `The model could not be loaded (${error.message}). Reload the page to try again.`;
});
