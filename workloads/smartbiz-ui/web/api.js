// The API: JSON over fetch, repeated when the network or the database fails, and problems in plain words.
import { t, has, sentence } from './text.js';

const TRIES = 3;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// Not crypto.randomUUID: that is missing on pages that come by plain http.
const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || '');
    this.status = status;
    this.body = body;
    this.field = (body.field || '').replace(/^lines\[\d+\]\./, '');
  }

  // What a person needs to know.
  get words() {
    const detail = this.message;
    const stock = /^insufficient stock of (.+): (\d+) available/.exec(detail);
    if (stock) return t('e_stock', { sku: stock[1], n: stock[2] });
    const adjust = /^the stock is (\d+)/.exec(detail);
    if (adjust) return t('e_adjust', { n: adjust[1] });
    if (this.status === 409 && this.field === 'sku') return t('e_taken_sku');
    if (this.status === 409 && this.field === 'email') return t('e_taken_email');
    if (this.status === 409 && this.field === 'status') return t('e_state');
    const key = 'e_' + (this.status === 0 ? 'network' : this.status);
    const names = { price_cents: 'price', min_stock: 'minStock', customer_id: 'customer', article_id: 'article' };
    const name = names[this.field] || this.field;
    return t(has(key) ? key : 'e_500', { detail: sentence(detail), field: has(name) ? t(name) : this.field || '', id: this.body.request_id || '–' });
  }
}

async function once(method, path, body, headers) {
  let reply;
  try {
    reply = await fetch('api' + path, { method, body, headers });
  } catch {
    throw new Problem(0, {});
  }
  const text = await reply.text();
  let value = null;
  try {
    value = text === '' ? null : JSON.parse(text);
  } catch {
    throw new Problem(reply.status < 400 ? 502 : reply.status, { detail: text.slice(0, 200) });
  }
  if (!reply.ok) throw new Problem(reply.status, value || {});
  return { value, tag: reply.headers.get('ETag') };
}

// A write gets a key, so that it may be repeated and is done once.
export async function call(method, path, { body, tag, csv } = {}) {
  const headers = {};
  const user = localStorage.getItem('user');
  if (user) headers['X-User'] = encodeURIComponent(user);
  if (tag) headers['If-Match'] = tag;
  if (method === 'POST' && !csv) headers['Idempotency-Key'] = newKey();
  if (csv) headers['Content-Type'] = 'text/csv';
  else if (body !== undefined) headers['Content-Type'] = 'application/json';
  const text = csv || (body === undefined ? undefined : JSON.stringify(body));
  const repeatable = method !== 'PUT' && method !== 'PATCH' && method !== 'DELETE';
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await once(method, path, text, headers);
    } catch (problem) {
      const passing = problem.status === 0 || problem.status === 503;
      if (!passing || !repeatable || attempt === TRIES) throw problem;
      await pause(400 * attempt);
    }
  }
}

export const get = async (path) => (await call('GET', path)).value;
export const query = (values) => {
  const set = Object.entries(values).filter(([, value]) => value !== '' && value !== null && value !== undefined && value !== false);
  return set.length ? '?' + new URLSearchParams(set) : '';
};
