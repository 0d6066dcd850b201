// Pieces that the views are made of. Texts become text nodes only, never markup.
import { t, whole } from './text.js';
import { call, Problem } from './api.js';

// h('td', {class: 'number', onclick}, child, 'text', …)
export function h(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'value') node.value = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const NS = 'http://www.w3.org/2000/svg';
export function s(name, attributes = {}, ...children) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function show(where, text, ms) {
  const toast = h('div', { class: 'toast' }, h('span', {}, text),
    h('button', { 'aria-label': t('close'), onclick: () => toast.remove() }, '✕'));
  document.getElementById(where).replaceChildren(toast);
  if (ms) setTimeout(() => toast.remove(), ms);
}
export const say = (text) => show('toasts', text, 6000);
export function complain(problem) {
  if (!(problem instanceof Problem)) throw problem;
  show('alarms', problem.words, 12000);
}

// Runs @work while @button waits; a problem is told. The button is not disabled: it would lose the focus.
export async function busy(button, work) {
  if (button.ariaBusy === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    await work();
  } catch (problem) {
    complain(problem);
  } finally {
    button.removeAttribute('aria-busy');
  }
}

let ids = 0;
export const newId = () => `i${ids += 1}`;

// A label with its input, and room for what is wrong with it.
// @around: what holds the input, when it does not stand alone.
export function field(label, input, { hint, wide, name, around } = {}) {
  const id = newId();
  input.id = id;
  if (name) input.name = name;
  const error = h('span', { class: 'error', id: id + 'e' });
  input.setAttribute('aria-describedby', id + 'e' + (hint ? ` ${id}h` : ''));
  const box = h('div', { class: wide ? 'field wide' : 'field' }, h('label', { for: id }, label), around || input,
    hint ? h('span', { class: 'hint', id: id + 'h' }, hint) : null, error);
  box.input = input;
  box.wrong = (text) => {
    error.textContent = text || '';
    input.setAttribute('aria-invalid', text ? 'true' : 'false');
    if (text) input.focus();
  };
  return box;
}

export const select = (options, value, attributes = {}) => {
  const node = h('select', attributes, options.map(([key, text]) => h('option', { value: key }, text)));
  node.value = value;
  return node;
};

// A dialog that goes when it is closed. @fill(dialog) makes its content.
export function dialog(title, fill) {
  const id = newId();
  const box = h('dialog', { 'aria-labelledby': id }, h('h2', { id }, title));
  box.addEventListener('close', () => box.remove());
  document.body.append(box);
  fill(box);
  box.showModal();
  return box;
}

export function ask(question) {
  return new Promise((resolve) => {
    const box = dialog(question, (inside) => inside.append(h('div', { class: 'actions' },
      h('button', { onclick: () => inside.close() }, t('no')),
      h('button', { class: 'danger', onclick: () => { resolve(true); inside.close(); } }, t('yes')))));
    box.addEventListener('close', () => resolve(false));
  });
}

// A form in a dialog. @save(): sends; a problem is shown at its field, or above the buttons.
export function formDialog(title, fields, save, { remove } = {}) {
  dialog(title, (box) => {
    const trouble = h('p', { class: 'error', role: 'alert' });
    const go = h('button', { class: 'main', type: 'submit' }, t('save'));
    const form = h('form', { novalidate: true, method: 'dialog' },
      h('div', { class: 'fields' }, Object.values(fields)), trouble,
      h('div', { class: 'actions' },
        remove ? h('button', { class: 'danger', type: 'button', onclick: () => remove(box) }, t('remove')) : null,
        h('button', { type: 'button', onclick: () => box.close() }, t('close')), go));
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      trouble.textContent = '';
      Object.values(fields).forEach((one) => one.wrong(''));
      await busy(go, async () => {
        try {
          await save();
          box.close();
        } catch (problem) {
          if (!(problem instanceof Problem)) throw problem;
          if (fields[problem.field]) fields[problem.field].wrong(problem.words);
          else trouble.textContent = problem.words;
        }
      });
    });
    box.append(form);
  });
}

// A table that grows page by page. @load(after) gives {items, next}; @row(item) a tr.
export function pagedTable(heads, load, row, empty) {
  const body = h('tbody');
  const more = h('button', { onclick: () => busy(more, next) }, t('more'));
  const foot = h('div', { class: 'more', hidden: true }, more);
  const none = h('p', { class: 'empty', hidden: true }, empty || t('nothing'));
  const trouble = h('div', { role: 'alert', hidden: true });
  const box = h('div', { class: 'card flush' }, trouble,
    h('table', { class: 'wide' }, h('thead', {}, h('tr', {}, heads.map(([text, kind]) => h('th', { scope: 'col', class: kind }, text)))), body),
    none, foot);
  let after = '';
  let run = 0;
  async function next() {
    const mine = run;
    const page = await load(after);
    if (mine !== run) return; // asked anew meanwhile
    if (after === '') body.replaceChildren();
    body.append(...page.items.map(row));
    after = page.next || '';
    foot.hidden = !page.next;
    none.hidden = body.children.length > 0;
  }
  box.reload = async () => {
    run += 1;
    after = '';
    box.classList.add('busy');
    trouble.hidden = true;
    try {
      await next();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      trouble.replaceChildren(h('p', { class: 'note bad' }, problem.words), h('p', {}, h('button', { class: 'main', onclick: box.reload }, t('reload'))));
      trouble.hidden = false;
    } finally {
      box.classList.remove('busy');
    }
  };
  box.body = body;
  return box;
}

export const later = (work, ms = 250) => {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), ms);
  };
};

// An input that searches while one types: arrows choose, Enter takes, Escape closes.
export function picker({ search, label, extra, chosen }) {
  const list = h('ul', { role: 'listbox', id: newId(), hidden: true, 'aria-label': t('choose') });
  const input = h('input', { role: 'combobox', 'aria-expanded': 'false', 'aria-autocomplete': 'list', 'aria-controls': list.id,
    autocomplete: 'off', placeholder: t('choose') });
  const box = h('div', { class: 'picker' }, input, list);
  let items = [];
  let at = -1;
  let asked = 0;
  const mark = (index) => {
    at = index;
    [...list.children].forEach((li, i) => {
      li.setAttribute('aria-selected', i === at);
      if (i === at) li.scrollIntoView({ block: 'nearest' });
    });
    if (at >= 0) input.setAttribute('aria-activedescendant', list.children[at].id);
    else input.removeAttribute('aria-activedescendant');
  };
  const close = () => {
    asked += 1; // what is still being searched for comes too late
    list.hidden = true;
    input.setAttribute('aria-expanded', 'false');
    mark(-1);
  };
  const take = (item) => {
    box.item = item;
    input.value = label(item);
    close();
    chosen(item);
  };
  const open = async () => {
    const mine = asked += 1;
    let found;
    try {
      found = (await search(input.value)).items;
    } catch (problem) {
      complain(problem);
      return;
    }
    if (mine !== asked || document.activeElement !== input) return;
    items = found;
    list.replaceChildren(...items.map((item) => h('li', { role: 'option', id: newId(), 'aria-selected': 'false',
      onmousedown: (event) => { event.preventDefault(); take(item); } }, label(item), extra ? h('span', {}, extra(item)) : '')));
    if (items.length === 0) list.append(h('li', { role: 'option', 'aria-disabled': 'true', 'aria-selected': 'false', id: newId() }, t('nothingFound')));
    list.hidden = false;
    input.setAttribute('aria-expanded', 'true');
    mark(items.length > 0 ? 0 : -1);
  };
  const openSoon = later((mine) => { if (mine === asked) open(); }, 150);
  input.addEventListener('input', () => {
    box.item = null;
    chosen(null);
    openSoon(asked += 1);
  });
  input.addEventListener('focus', open);
  input.addEventListener('blur', close);
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !list.hidden) {
      event.stopPropagation();
      event.preventDefault();
      close();
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      if (list.hidden) open();
      else if (items.length > 0) mark((at + (event.key === 'ArrowDown' ? 1 : items.length - 1)) % items.length);
    } else if (event.key === 'Enter' && !list.hidden && at >= 0) {
      event.preventDefault();
      take(items[at]);
    }
  });
  box.input = input;
  box.set = (item) => {
    box.item = item;
    input.value = label(item);
  };
  return box;
}

// The four buttons of an article's stock, and the number between them.
export function stockButtons(article, changed) {
  const output = h('output', {}, whole(article.stock));
  const box = h('div', { class: 'stock', role: 'group', 'aria-label': t('stockOf', { name: article.name }) });
  const paint = (value) => {
    output.textContent = whole(value.stock);
    box.classList.toggle('low', value.stock <= value.min_stock);
  };
  const button = (change) => {
    const text = change > 0 ? `+${change}` : `−${-change}`;
    const node = h('button', { type: 'button', 'aria-label': `${article.name}: ${text}`, onclick: () => busy(node, async () => {
      const { value } = await call('POST', `/articles/${article.id}/stock`, { body: { change } });
      paint(value);
      say(t('stockNow', { name: value.name, n: whole(value.stock) }));
      if (changed) changed(value);
    }) }, text);
    return node;
  };
  box.append(button(-10), button(-1), output, button(1), button(10));
  paint(article);
  return box;
}
