// The first page: numbers and small charts, each also as a table for those who hear it.
import { t, money, roughMoney, whole, shortDay } from './text.js';
import { get } from './api.js';
import { h, s } from './parts.js';

const WIDTH = 420;
const HEIGHT = 170;
const BOTTOM = 22;
const TOP = 16;

function chart(title, days, value, text) {
  const most = Math.max(1, ...days.map(value));
  const step = WIDTH / days.length;
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title}, ${t('last14')}` });
  svg.append(s('line', { class: 'axis', x1: 0, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
  days.forEach((day, i) => {
    const tall = value(day) / most * (HEIGHT - BOTTOM - TOP);
    const bar = s('rect', { x: i * step + 3, y: HEIGHT - BOTTOM - tall, width: step - 6, height: tall, rx: 2 });
    bar.append(s('title', {}, `${shortDay(day.day)}: ${text(value(day))}`));
    svg.append(bar);
    if (i % 3 === 1) svg.append(s('text', { x: i * step + step / 2, y: HEIGHT - 6, 'text-anchor': 'middle' }, shortDay(day.day)));
    if (value(day) === most && value(day) > 0 && days.findIndex((one) => value(one) === most) === i)
      svg.append(s('text', { x: Math.min(Math.max(i * step + step / 2, 24), WIDTH - 34), y: HEIGHT - BOTTOM - tall - 4, 'text-anchor': 'middle' }, text(most)));
  });
  const table = h('table', { class: 'hidden' }, h('caption', {}, title), h('tbody', {}, days.map((day) =>
    h('tr', {}, h('th', { scope: 'row' }, shortDay(day.day)), h('td', {}, text(value(day)))))));
  return h('section', { class: 'card' }, h('h2', {}, title), svg, table);
}

const stat = (number, label, href, kind = '') =>
  h('a', { class: `card stat ${kind}`, href }, h('b', {}, number), h('span', {}, label));

export async function overview(main) {
  const data = await get('/dashboard');
  const currencies = Object.entries(data.revenue);
  const currency = currencies.length > 0 ? currencies[0][0] : 'EUR';
  const most = Math.max(1, ...data.top.map((one) => one.quantity));
  main.append(
    h('div', { class: 'head' }, h('h1', { tabindex: -1 }, t('overview')), h('a', { class: 'button main', 'data-key': 'n', href: '#/orders/new' }, t('newOrder'))),
    h('div', { class: 'cards' },
      stat(whole(data.orders.confirmed || 0), t('openOrders'), '#/orders?status=confirmed'),
      stat(currencies.length === 0 ? money(0, 'EUR') : currencies.map(([name, cents]) => roughMoney(cents, name)).join(' + '), t('revenue'), '#/orders'),
      stat(whole(data.low_stock), t('low'), '#/low', data.low_stock > 0 ? 'warn' : ''),
      stat(whole(data.articles), t('articles'), '#/articles'), stat(whole(data.customers), t('customers'), '#/customers')),
    h('div', { class: 'cards two' },
      chart(t('ordersPerDay'), data.days, (day) => day.orders, whole),
      chart(t('revenuePerDay'), data.days, (day) => day.cents, (n) => roughMoney(n, currency))),
    h('section', { class: 'card' }, h('h2', {}, t('topArticles')),
      data.top.length === 0 ? h('p', { class: 'empty' }, t('noSales'))
        : h('div', { class: 'bars', role: 'list' }, data.top.map((one) => {
          const bar = h('i', { 'aria-hidden': 'true' });
          bar.style.width = `${one.quantity / most * 100}%`;
          return h('div', { role: 'listitem' }, h('span', {}, one.name), h('b', {}, whole(one.quantity)), bar);
        }))));
}
