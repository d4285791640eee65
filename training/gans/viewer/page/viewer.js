// The page of one model: builds its controls, asks for pictures one at a time, and always shows the newest setting next.

const $ = (id) => document.getElementById(id);
const lane = crypto.randomUUID().slice(0, 8);
const model = await (await fetch('/model.json')).json();
const controls = new Map(model.controls.map((control) => [control.name, control]));
const starts = Object.fromEntries(model.controls.map((control) => [control.name, control.start]));
const settings = { ...starts };
const rows = new Map(); // name of a control -> shows its value
const canWalk = ['seed', 'toward', 'blend'].every((name) => controls.has(name));
const LARGEST_SEED = 2 ** 32 - 1;
const canvas = $('picture');

let layer = null; // its place in model.layers; null shows the picture
let first = 0; // channel of the sheet, or the only one
let alone = false; // one channel
let shown = null; // the newest answer: {blob, address}
let playing = false;

// ---- Settings --------------------------------------------------------------------------------------------------------------------------------

const isStart = (name) => String(settings[name]) === String(starts[name]);

function clean(control, value) {
  if (control.kind === 'subset') {
    const places = Array.isArray(value) ? value : String(value).split(',').filter(Boolean).map(Number);
    return [...new Set(places)].filter((place) => Number.isInteger(place) && place >= 0 && place < control.options.length).sort((a, b) => a - b);
  }
  const number = Number(value);
  if (value === '' || !Number.isFinite(number)) return settings[control.name];
  if (control.kind === 'seed') return Math.min(Math.max(Math.round(number), 0), LARGEST_SEED);
  const inside = Math.min(Math.max(number, control.least), control.most);
  return control.is_whole ? Math.round(inside) : Number(inside.toFixed(4));
}

function set(changes) {
  for (const [name, value] of Object.entries(changes)) {
    const control = controls.get(name);
    if (!control) continue;
    settings[name] = clean(control, value);
    rows.get(name)();
  }
  redraw();
}

function query(changes = {}) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...settings, ...changes })) {
    if (String(value) !== String(starts[name])) asked.set(name, String(value));
  }
  return asked;
}

function remember() {
  history.replaceState(null, '', `#${query()}`);
}

function recall() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const changes = { ...starts };
  for (const [name, value] of asked) if (controls.has(name)) changes[name] = value;
  set(changes);
}

// ---- Controls --------------------------------------------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function buildPanel() {
  const groups = new Map();
  for (const control of model.controls) {
    if (!groups.has(control.group)) {
      groups.set(control.group, element('fieldset', {}, element('legend', { textContent: control.group })));
      $('panel').append(groups.get(control.group));
    }
    groups.get(control.group).append({ slider: sliderRow, seed: seedRow, subset: subsetRow }[control.kind](control));
  }
  if (model.layers.length) $('panel').append(layerList());
}

function labelled(control, ...children) {
  const label = element('label', { textContent: control.label, title: control.hint, htmlFor: `set-${control.name}` });
  label.addEventListener('dblclick', () => set({ [control.name]: control.start }));
  return element('div', { className: 'row' }, label, ...children);
}

function numberInput(control, properties) {
  const input = element('input', { type: 'number', id: `set-${control.name}`, ...properties });
  input.addEventListener('change', () => set({ [control.name]: input.value }));
  return input;
}

function sliderRow(control) {
  const limits = { min: control.least, max: control.most };
  const number = numberInput(control, { ...limits, step: control.is_whole ? 1 : 'any' });
  const range = element('input', { type: 'range', ...limits, step: control.step, title: control.hint, ariaLabel: control.label });
  range.addEventListener('input', () => set({ [control.name]: range.value }));
  const row = labelled(control, element('span', { className: 'value' }, number, element('i', { textContent: control.unit })), range);
  // The track is filled from zero, or from the lowest value where there is none.
  const share = (value) => (100 * (value - control.least)) / (control.most - control.least);
  const origin = share(Math.min(Math.max(0, control.least), control.most));
  rows.set(control.name, () => {
    const value = settings[control.name];
    number.value = control.is_whole ? value : Number(value.toFixed(3));
    range.value = value;
    range.style.setProperty('--from', `${Math.min(origin, share(value))}%`);
    range.style.setProperty('--filled', `${Math.max(origin, share(value))}%`);
    row.classList.toggle('changed', !isStart(control.name));
  });
  return row;
}

function seedRow(control) {
  const number = numberInput(control, { min: 0, max: LARGEST_SEED, step: 1, className: 'seed' });
  // Arrow keys in the field, and the arrows of those browsers that show some, act at once.
  number.addEventListener('input', () => number.value !== '' && set({ [control.name]: number.value }));
  const dice = element('button', { type: 'button', className: 'small', textContent: '⚄', title: 'Another seed', ariaLabel: `Another ${control.label.toLowerCase()}` });
  dice.addEventListener('click', () => set({ [control.name]: anySeed() }));
  const row = labelled(control, element('span', { className: 'value' }, dice, number));
  rows.set(control.name, () => {
    if (document.activeElement !== number || Number(number.value) !== settings[control.name]) number.value = settings[control.name];
    row.classList.toggle('changed', !isStart(control.name));
  });
  return row;
}

function subsetRow(control) {
  const toggle = (place) => {
    const chosen = settings[control.name];
    set({ [control.name]: chosen.includes(place) ? chosen.filter((other) => other !== place) : [...chosen, place] });
  };
  const chips = control.options.map((name, place) => {
    const chip = element('button', { type: 'button', textContent: place, title: name, ariaLabel: name });
    chip.addEventListener('click', () => toggle(place));
    return chip;
  });
  const third = Math.ceil(control.options.length / 3);
  const presets = { first: [0, third], middle: [third, 2 * third], last: [2 * third, control.options.length], none: [0, 0] };
  const buttons = Object.entries(presets).map(([name, [from, to]]) => {
    const button = element('button', { type: 'button', className: 'small', textContent: name });
    button.addEventListener('click', () => set({ [control.name]: control.options.map((_, place) => place).slice(from, to) }));
    return button;
  });
  const row = labelled(control, element('span'), element('div', { className: 'chips' }, ...chips), element('span', { className: 'presets' }, ...buttons));
  rows.set(control.name, () => {
    chips.forEach((chip, place) => chip.setAttribute('aria-pressed', settings[control.name].includes(place)));
    row.classList.toggle('changed', !isStart(control.name));
  });
  return row;
}

function layerList() {
  const list = element('div', { className: 'layers', id: 'layers' });
  const entries = [['Picture', ''], ...model.layers.map(({ name, channels, side }) => [name, `${channels} × ${side} px`])];
  entries.forEach(([name, size], place) => {
    const button = element('button', { type: 'button' }, element('span', { textContent: name }), element('span', { textContent: size }));
    button.addEventListener('click', () => look(place ? place - 1 : null));
    list.append(button);
  });
  return element('fieldset', {}, element('legend', { textContent: 'Layers' }), list);
}

// ---- Drawing ---------------------------------------------------------------------------------------------------------------------------------

let isWanted = false;
let isBusy = false;
let lastShownAt = 0;
let restTimer = 0;

/** Show the present settings: at once, or after the picture that is being drawn. What was wanted in between is never asked for. */
async function redraw() {
  isWanted = true;
  clearTimeout(restTimer);
  if (isBusy) return;
  isBusy = true;
  canvas.setAttribute('aria-busy', true);
  while (isWanted) {
    isWanted = false;
    await show();
    if (playing) step();
  }
  isBusy = false;
  restTimer = setTimeout(rest, 250);
}

function address() {
  const asked = query();
  asked.set('lane', lane);
  if (layer === null) return `/picture.png?${asked}`;
  asked.set('layer', layer);
  asked.set('first', first);
  asked.set('count', alone ? 1 : model.sheet.channels);
  return `/layer.png?${asked}`;
}

async function show() {
  const what = { layer, first, alone };
  try {
    const answer = await fetch(address());
    if (answer.status === 409) return; // another request of this page came first, and will be shown
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const blob = await answer.blob();
    const picture = await createImageBitmap(blob);
    shown = { blob, ...what };
    paint(canvas, picture);
    describe(picture, Number(answer.headers.get('X-Draw-Ms')), what);
    $('message').hidden = true;
  } catch (error) {
    pause();
    const isAway = error instanceof TypeError;
    $('message').textContent = isAway ? 'The viewer does not answer. Is it still running?' : error.message;
    $('message').hidden = false;
  }
}

function paint(target, picture) {
  if (target.width !== picture.width || target.height !== picture.height) Object.assign(target, { width: picture.width, height: picture.height });
  target.getContext('2d').drawImage(picture, 0, 0);
}

function describe(picture, milliseconds, what) {
  canvas.style.setProperty('--aspect', picture.width / picture.height);
  canvas.classList.toggle('sheet', what.layer !== null && !what.alone);
  canvas.classList.toggle('alone', what.layer !== null && what.alone);
  const now = performance.now();
  const rate = 1000 / (now - lastShownAt);
  lastShownAt = now;
  $('timing').textContent = `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms${rate > 0.5 ? ` · ${rate.toFixed(rate < 10 ? 1 : 0)} /s` : ''}`;
  canvas.dataset.drawn = Number(canvas.dataset.drawn ?? 0) + 1;
  caption(what);
}

function caption({ layer, first, alone }) {
  const words = [];
  if (layer !== null) {
    const { name, channels } = model.layers[layer];
    const last = Math.min(first + model.sheet.channels, channels) - 1;
    words.push(name, alone ? `channel ${first}` : `channels ${first}–${last}`);
    $('range').textContent = `${first}${alone ? '' : `–${last}`} of ${channels}`;
    $('previous').disabled = first === 0;
    $('next').disabled = alone ? first + 1 >= channels : last + 1 >= channels;
  }
  $('pager').hidden = layer === null;
  for (const control of model.controls) {
    if (control.kind !== 'subset' && (control.name === 'seed' || (!isStart(control.name) && !(control.name === 'toward' && settings.blend === 0)))) {
      words.push(`${control.label.toLowerCase()} ${settings[control.name]}${control.unit ?? ''}`);
    }
  }
  $('caption').textContent = words.join(' · ');
  canvas.setAttribute('aria-label', `${layer === null ? 'Picture' : 'Activations'}: ${words.join(', ')}`);
}

/** Nobody has touched anything for a moment: write the address, then draw the seeds beside this one. */
function rest() {
  remember();
  canvas.setAttribute('aria-busy', false);
  if ($('message').hidden) fillStrip();
}

// ---- Layers ----------------------------------------------------------------------------------------------------------------------------------

function look(place) {
  layer = place;
  first = 0;
  alone = false;
  mark();
  redraw();
}

function mark() {
  [...($('layers')?.children ?? [])].forEach((button, index) => button.setAttribute('aria-pressed', index === (layer ?? -1) + 1));
  sharpen();
}

function turnPage(direction) {
  const { channels } = model.layers[layer];
  const by = alone ? 1 : model.sheet.channels;
  const next = first + direction * by;
  if (next < 0 || next >= channels) return;
  first = next;
  redraw();
}

function zoom(event) {
  const { channels } = model.layers[layer];
  if (alone) {
    first -= first % model.sheet.channels;
    alone = false;
  } else {
    const columns = model.sheet.columns;
    const tiles = Math.ceil(Math.min(channels - shown.first, model.sheet.channels) / columns);
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const channel = shown.first + Math.floor(((event.clientY - box.top) / box.height) * tiles) * columns + column;
    if (channel >= channels) return;
    first = channel;
    alone = true;
  }
  redraw();
}

// ---- Walking ---------------------------------------------------------------------------------------------------------------------------------

const LEG_S = 3; // from one seed to the next
const LARGEST_STEP = 1 / 12; // of a leg: a slow model walks slowly rather than in leaps
let steppedAt = 0;

function step() {
  const now = performance.now();
  let blend = settings.blend + Math.min((now - steppedAt) / 1000 / LEG_S, LARGEST_STEP);
  steppedAt = now;
  if (blend >= 1) {
    blend -= 1;
    settings.seed = settings.toward;
    settings.toward = (settings.toward + 1) % (LARGEST_SEED + 1);
  }
  settings.blend = Number(blend.toFixed(4));
  ['seed', 'toward', 'blend'].forEach((name) => rows.get(name)());
  isWanted = true;
}

function play() {
  if (!canWalk) return;
  playing = true;
  steppedAt = performance.now();
  $('play').setAttribute('aria-pressed', true);
  $('play').replaceChildren(element('span', { textContent: '❚❚', ariaHidden: true }), ' Pause');
  $('strip').replaceChildren();
  redraw();
}

function pause() {
  playing = false;
  $('play').setAttribute('aria-pressed', false);
  $('play').replaceChildren(element('span', { textContent: '▶', ariaHidden: true }), ' Walk');
}

// ---- Seeds beside this one -------------------------------------------------------------------------------------------------------------------

const BESIDE = 4;
const THUMBNAIL_PX = 112;
const thumbnails = new Map(); // address -> ImageBitmap, the oldest first
let stripNumber = 0;

async function fillStrip() {
  if (!controls.has('seed')) return;
  const number = ++stripNumber;
  const here = settings.seed;
  const start = Math.min(Math.max(here - BESIDE, 0), LARGEST_SEED - 2 * BESIDE);
  const places = Array.from({ length: 2 * BESIDE + 1 }, (_, place) => {
    const seed = start + place;
    const small = element('canvas', { width: THUMBNAIL_PX, height: THUMBNAIL_PX });
    const button = element('button', { type: 'button', ariaLabel: `Seed ${seed}` }, small, element('span', { textContent: seed }));
    button.setAttribute('aria-current', seed === here);
    button.addEventListener('click', () => set(canWalk ? { seed, blend: 0 } : { seed }));
    return { asked: `/picture.png?${query(canWalk ? { seed, blend: 0 } : { seed })}&lane=${lane}-strip`, small, button };
  });
  $('strip').replaceChildren(...places.map(({ button }) => button));
  for (const { asked, small } of places) {
    // One after the other, and only while nothing else is to be drawn.
    if (number !== stripNumber || isBusy) return;
    try {
      paint(small, await thumbnail(asked));
    } catch {
      return; // what is wrong is said when the picture itself is asked for
    }
  }
}

async function thumbnail(asked) {
  let picture = thumbnails.get(asked);
  if (!picture) {
    const answer = await fetch(asked);
    if (!answer.ok) throw new Error(answer.statusText);
    picture = await createImageBitmap(await answer.blob(), { resizeWidth: THUMBNAIL_PX, resizeHeight: THUMBNAIL_PX, resizeQuality: 'high' });
    if (thumbnails.size >= 300) thumbnails.delete(thumbnails.keys().next().value);
  }
  thumbnails.delete(asked);
  thumbnails.set(asked, picture);
  return picture;
}

// ---- Pointer, keys, buttons ------------------------------------------------------------------------------------------------------------------

function anySeed() {
  return crypto.getRandomValues(new Uint16Array(1))[0];
}

function wrapped(degrees) {
  return ((((degrees + 180) % 360) + 360) % 360) - 180;
}

let drag = null;

canvas.addEventListener('pointerdown', (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  const { x, y, turn } = settings;
  drag = { from: event, x, y, turn, isFar: false };
});

canvas.addEventListener('pointermove', (event) => {
  if (!drag) return;
  const box = canvas.getBoundingClientRect();
  const [right, down] = [event.clientX - drag.from.clientX, event.clientY - drag.from.clientY];
  drag.isFar ||= Math.hypot(right, down) > 4;
  if (!drag.isFar || layer !== null) return;
  canvas.classList.add('dragging');
  if (event.shiftKey) {
    const angle = ({ clientX, clientY }) => Math.atan2(clientY - box.top - box.height / 2, clientX - box.left - box.width / 2);
    set({ turn: wrapped(drag.turn - ((angle(event) - angle(drag.from)) * 180) / Math.PI) });
  } else {
    set({ x: drag.x + right / box.width, y: drag.y + down / box.height });
  }
});

canvas.addEventListener('pointerup', (event) => {
  if (drag && !drag.isFar && layer !== null && shown?.layer === layer) zoom(event);
  drag = null;
  canvas.classList.remove('dragging');
});
canvas.addEventListener('pointercancel', () => { drag = null; });
canvas.addEventListener('dblclick', () => layer === null && set({ x: 0, y: 0, turn: 0 }));

let isSharp = model.layers.length > 0 && model.layers.at(-1).side <= 128;

function sharpen() {
  canvas.classList.toggle('sharp', isSharp || layer !== null);
}

function save() {
  if (!shown) return;
  const told = layer === null ? [] : [model.layers[layer].name];
  for (const [name, value] of query()) told.push(`${name}${value.replaceAll(',', '+')}`);
  const link = element('a', { href: URL.createObjectURL(shown.blob), download: `${[model.name, ...told].join('-').slice(0, 120)}.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function theme() {
  const root = document.documentElement;
  const isDark = (root.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
  root.dataset.theme = isDark ? 'light' : 'dark';
  localStorage.setItem('theme', root.dataset.theme);
}

function reset() {
  pause();
  set(starts);
}

function random() {
  set(canWalk ? { seed: anySeed(), blend: 0 } : { seed: anySeed() });
}

function nextLayer(direction) {
  const count = model.layers.length + 1;
  const place = ((layer ?? -1) + 1 + direction + count) % count;
  look(place ? place - 1 : null);
}

const keys = {
  ArrowLeft: () => set({ seed: settings.seed - 1 }),
  ArrowRight: () => set({ seed: settings.seed + 1 }),
  ArrowUp: () => set({ psi: settings.psi + 0.05 }),
  ArrowDown: () => set({ psi: settings.psi - 0.05 }),
  ' ': () => (playing ? pause() : play()),
  r: random,
  l: () => nextLayer(1),
  L: () => nextLayer(-1),
  Escape: () => layer !== null && look(null),
  p: () => { isSharp = !isSharp; sharpen(); },
  s: save,
  0: reset,
  t: theme,
  '?': () => $('keys').showModal(),
};

document.addEventListener('keydown', (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $('keys').open || !keys[key]) return;
  // Fields and knobs have keys of their own; a button takes Space and Enter.
  if (target.matches('input') && !(target.type === 'range' && !key.startsWith('Arrow'))) return;
  if (target.matches('button') && key === ' ') return;
  event.preventDefault();
  keys[key]();
});

$('play').addEventListener('click', () => (playing ? pause() : play()));
$('random').addEventListener('click', random);
$('reset').addEventListener('click', reset);
$('save').addEventListener('click', save);
$('theme').addEventListener('click', theme);
$('help').addEventListener('click', () => $('keys').showModal());
$('previous').addEventListener('click', () => turnPage(-1));
$('next').addEventListener('click', () => turnPage(1));
addEventListener('hashchange', recall);

if (localStorage.getItem('theme')) document.documentElement.dataset.theme = localStorage.getItem('theme');
document.title = `${model.name} – Figment`;
$('name').textContent = model.name;
$('facts').textContent = model.facts.join(' · ');
$('play').hidden = !canWalk;
$('random').hidden = !controls.has('seed');
buildPanel();
mark();
recall();
