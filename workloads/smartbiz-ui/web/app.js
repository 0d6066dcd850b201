// The frame: where one is, what is shown there, language and appearance, keys.
import { t, language, languages, setLanguage } from './text.js';
import { get, Problem } from './api.js';
import { h, select, field, dialog } from './parts.js';
import { overview } from './overview.js';
import { articlesView } from './articles.js';
import { customersView } from './customers.js';
import { ordersView, orderView, orderForm } from './orders.js';

const places = [
  ['overview', '#/'], ['articles', '#/articles'], ['low', '#/low'], ['customers', '#/customers'], ['orders', '#/orders'],
];
const routes = [
  [/^\/$/, 'overview', (main) => overview(main)],
  [/^\/articles$/, 'articles', (main) => articlesView(main, false)],
  [/^\/low$/, 'low', (main) => articlesView(main, true)],
  [/^\/customers$/, 'customers', (main) => customersView(main)],
  [/^\/orders$/, 'orders', (main, _, values) => ordersView(main, values)],
  [/^\/orders\/new$/, 'orders', (main) => orderForm(main, null)],
  [/^\/orders\/(\d+)$/, 'orders', (main, found) => orderView(main, found[1])],
  [/^\/orders\/(\d+)\/edit$/, 'orders', (main, found) => orderForm(main, found[1])],
];

const main = document.getElementById('main');
const nav = document.getElementById('nav');

function paintNav(current) {
  nav.replaceChildren(...places.map(([name, href]) => {
    const link = h('a', { href, 'aria-current': name === current ? 'page' : null }, t(name));
    if (name === 'low') link.append(' ', h('span', { class: 'count', id: 'low-count', hidden: true }));
    return link;
  }));
}

// The number at "low stock", after something that may have changed it.
export async function changed() {
  try {
    const { low_stock: n } = await get('/dashboard');
    const count = document.getElementById('low-count');
    if (!count) return;
    count.textContent = String(n);
    count.hidden = n === 0;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem; // the number stays away; the view says what is wrong
  }
}

function appearance() {
  const kept = localStorage.getItem('theme') || 'auto';
  document.documentElement.style.colorScheme = kept === 'auto' ? 'light dark' : kept;
}

function settings() {
  dialog(t('settings'), (box) => {
    const you = h('input', { maxlength: 60, value: localStorage.getItem('user') || '' });
    const tongue = select(Object.entries(languages), language);
    const look = select(['auto', 'light', 'dark'].map((name) => [name, t(name)]), localStorage.getItem('theme') || 'auto');
    you.addEventListener('change', () => localStorage.setItem('user', you.value.trim()));
    look.addEventListener('change', () => { localStorage.setItem('theme', look.value); appearance(); });
    tongue.addEventListener('change', () => { setLanguage(tongue.value); box.close(); paintTools(); go(); });
    box.append(h('div', { class: 'fields' }, field(t('you'), you, { hint: t('youHint') }), field(t('language'), tongue), field(t('theme'), look)),
      h('div', { class: 'actions' }, h('a', { class: 'button', href: 'api/docs' }, t('api')), h('button', { class: 'main', onclick: () => box.close() }, t('close'))));
  });
}

const skip = document.querySelector('.skip');
skip.addEventListener('click', (event) => {
  event.preventDefault(); // what follows # is the view
  main.focus();
});

function paintTools() {
  skip.textContent = t('skip');
  document.getElementById('tools').replaceChildren(
    h('button', { class: 'plain', 'aria-label': t('settings'), title: t('settings'), onclick: settings }, '⚙'));
}

let run = 0;
export async function go() {
  const [path, values] = (location.hash.slice(1) || '/').split('?');
  const mine = run += 1;
  const fresh = h('div');
  for (const [pattern, name, view] of routes) {
    const found = pattern.exec(path);
    if (!found) continue;
    paintNav(name);
    changed();
    main.setAttribute('aria-busy', 'true');
    try {
      const shown = view(fresh, found, new URLSearchParams(values || ''));
      if (fresh.children.length > 0) main.replaceChildren(fresh); // it fills itself
      await shown;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      fresh.replaceChildren(h('div', { class: 'head' }, h('h1', { tabindex: -1 }, t(name))), h('p', { class: 'note bad', role: 'alert' }, problem.words),
        h('button', { class: 'main', onclick: go }, t('reload')));
    }
    if (mine !== run) return;
    main.replaceChildren(fresh);
    main.removeAttribute('aria-busy');
    const title = main.querySelector('h1');
    document.title = `${title.textContent.trim()} – SmartBiz`;
    if (mine > 1) title.focus();
    return;
  }
  location.hash = '#/';
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (event.target.matches('input, select, textarea')) return;
  const target = event.key === '/' ? main.querySelector('.search') : event.key === 'n' ? main.querySelector('[data-key=n]') : null;
  if (!target) return;
  event.preventDefault();
  target.focus();
  if (event.key === 'n') target.click();
});
addEventListener('hashchange', go);
appearance();
paintTools();
go();
