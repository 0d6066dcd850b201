// The words of the page, in English and German, and how numbers and days are written.
const words = {
  en: {
    skip: 'Skip to the content', overview: 'Overview', articles: 'Articles', stock: 'Stock', customers: 'Customers', orders: 'Orders',
    low: 'Low stock', search: 'Search', sort: 'Order', newest: 'Newest first', oldest: 'Oldest first', byName: 'Name', bySku: 'Number',
    byPrice: 'Price', byPriceDown: 'Price, highest first', byStock: 'Stock', byEmail: 'E-mail', byTotal: 'Total, highest first',
    onlyLow: 'Only low stock', newArticle: 'New article', newCustomer: 'New customer', newOrder: 'New order', importCsv: 'Import CSV',
    exportCsv: 'Export CSV', sku: 'Number', skuHint: 'left empty: it is given', name: 'Name', description: 'Description',
    price: 'Price', currency: 'Currency', minStock: 'Minimum stock', inStock: 'In stock', initialStock: 'Stock', edit: 'Edit {name}',
    save: 'Save', close: 'Close', remove: 'Delete', removeAsk: 'Really delete "{name}"?', cancelAsk: 'Really cancel this order?',
    yes: 'Yes', no: 'No', email: 'E-mail', phone: 'Phone', address: 'Address', more: 'More', nothing: 'Nothing here yet.',
    nothingFound: 'Nothing found.', saved: '"{name}" is saved.', removed: '"{name}" is deleted.', history: 'History', movements: 'Movements of stock',
    when: 'When', who: 'Who', what: 'What', change: 'Change', after: 'After', reason: 'Reason', note: 'Note', line: 'Line', status: 'State',
    all: 'All', draft: 'Draft', confirmed: 'Confirmed', shipped: 'Shipped', cancelled: 'Cancelled', refused: 'Refused',
    confirm: 'Confirm', ship: 'Mark as shipped', cancel: 'Cancel order', order: 'Order {id}', customer: 'Customer', article: 'Article',
    quantity: 'Quantity', total: 'Total', day: 'Day', addLine: 'Add a line', removeLine: 'Remove this line', saveDraft: 'Save as draft', placeOrder: 'Place order',
    available: '{n} in stock', tooFew: 'Only {n} in stock', choose: 'Type to search', chooseCustomer: 'Choose a customer.', chooseArticle: 'Choose an article in each line.',
    orderPlaced: 'Order {id} is placed.', draftSaved: 'Draft {id} is saved.', statusNow: 'Order {id}: {status}.', editDraft: 'Edit draft',
    stockNow: '{name}: {n} in stock.', stockOf: 'Stock of {name}', lowStockNone: 'Every article is above its minimum.',
    ordersPerDay: 'Orders per day', revenuePerDay: 'Revenue per day', last14: 'the last 14 days', topArticles: 'Sold most', revenue: 'Revenue', openOrders: 'To be shipped',
    noSales: 'Nothing was sold in the last 14 days.', language: 'Language', theme: 'Appearance', auto: 'Automatic', light: 'Light', dark: 'Dark', you: 'Your name', youHint: 'stands in the history of what you change',
    settings: 'Settings', file: 'CSV file', fileHint: 'The first line names the columns: sku, name, description, price or price_cents, currency, stock, min_stock.',
    tried: '{rows} rows: {created} new, {updated} changed, {unchanged} unchanged.', imported: 'Imported: {created} new, {updated} changed.', importNow: 'Import now',
    importErrors: '{n} mistakes; nothing is imported.', initial: 'At first', adjustment: 'Adjustment', 'import': 'Import', create: 'Created', update: 'Changed', 'delete': 'Deleted',
    working: 'Please wait …', priceBad: 'must be a price like 12.50', api: 'API', per: '{price} each',
    e_network: 'The server cannot be reached. Is the network there? Nothing was lost: try again.',
    e_503: 'The database is not reachable at the moment. Please try again shortly.', e_504: 'That took too long. Please look whether it was done.',
    e_404: 'That does not exist any more.', e_412: 'Somebody else has changed this meanwhile. Close, look at it and change it again.',
    e_409: 'That is not possible at present: {detail}', e_422: '{field}: {detail}', e_400: '{field}: {detail}', e_413: 'That is too large.', e_500: 'That should not happen. Please tell the administrator this number: {id}',
    e_stock: 'There is not enough of {sku}: {n} left.', e_adjust: 'There are {n} in stock: that many cannot be taken.', e_taken_sku: 'Another article has this number.', e_taken_email: 'Another customer has this e-mail address.',
    e_state: 'The order is in another state by now. Please look at it again.', reload: 'Show again',
  },
  de: {
    skip: 'Zum Inhalt springen', overview: 'Übersicht', articles: 'Artikel', stock: 'Bestand', customers: 'Kunden', orders: 'Bestellungen',
    low: 'Knapp', search: 'Suchen', sort: 'Reihenfolge', newest: 'Neueste zuerst', oldest: 'Älteste zuerst', byName: 'Name', bySku: 'Nummer',
    byPrice: 'Preis', byPriceDown: 'Preis, höchster zuerst', byStock: 'Bestand', byEmail: 'E-Mail', byTotal: 'Summe, höchste zuerst',
    onlyLow: 'Nur knappe', newArticle: 'Neuer Artikel', newCustomer: 'Neuer Kunde', newOrder: 'Neue Bestellung', importCsv: 'CSV einlesen',
    exportCsv: 'CSV ausgeben', sku: 'Nummer', skuHint: 'leer: wird vergeben', name: 'Name', description: 'Beschreibung',
    price: 'Preis', currency: 'Währung', minStock: 'Mindestbestand', inStock: 'Bestand', initialStock: 'Bestand', edit: '{name} bearbeiten',
    save: 'Speichern', close: 'Schließen', remove: 'Löschen', removeAsk: '„{name}“ wirklich löschen?', cancelAsk: 'Diese Bestellung wirklich stornieren?',
    yes: 'Ja', no: 'Nein', email: 'E-Mail', phone: 'Telefon', address: 'Anschrift', more: 'Mehr', nothing: 'Noch nichts da.',
    nothingFound: 'Nichts gefunden.', saved: '„{name}“ ist gespeichert.', removed: '„{name}“ ist gelöscht.', history: 'Verlauf', movements: 'Lagerbewegungen',
    when: 'Wann', who: 'Wer', what: 'Was', change: 'Änderung', after: 'Danach', reason: 'Grund', note: 'Notiz', line: 'Zeile', status: 'Stand',
    all: 'Alle', draft: 'Entwurf', confirmed: 'Bestätigt', shipped: 'Versandt', cancelled: 'Storniert', refused: 'Abgelehnt',
    confirm: 'Bestätigen', ship: 'Als versandt melden', cancel: 'Stornieren', order: 'Bestellung {id}', customer: 'Kunde', article: 'Artikel',
    quantity: 'Menge', total: 'Summe', day: 'Tag', addLine: 'Zeile hinzufügen', removeLine: 'Diese Zeile entfernen', saveDraft: 'Als Entwurf speichern', placeOrder: 'Bestellen',
    available: '{n} vorrätig', tooFew: 'Nur {n} vorrätig', choose: 'Tippen, um zu suchen', chooseCustomer: 'Bitte einen Kunden wählen.', chooseArticle: 'Bitte in jeder Zeile einen Artikel wählen.',
    orderPlaced: 'Bestellung {id} ist aufgegeben.', draftSaved: 'Entwurf {id} ist gespeichert.', statusNow: 'Bestellung {id}: {status}.', editDraft: 'Entwurf bearbeiten',
    stockNow: '{name}: {n} vorrätig.', stockOf: 'Bestand von {name}', lowStockNone: 'Jeder Artikel liegt über seinem Mindestbestand.',
    ordersPerDay: 'Bestellungen je Tag', revenuePerDay: 'Umsatz je Tag', last14: 'die letzten 14 Tage', topArticles: 'Am meisten verkauft', revenue: 'Umsatz', openOrders: 'Zu versenden',
    noSales: 'In den letzten 14 Tagen wurde nichts verkauft.', language: 'Sprache', theme: 'Darstellung', auto: 'Automatisch', light: 'Hell', dark: 'Dunkel', you: 'Ihr Name', youHint: 'steht im Verlauf dessen, was Sie ändern',
    settings: 'Einstellungen', file: 'CSV-Datei', fileHint: 'Die erste Zeile nennt die Spalten: sku, name, description, price oder price_cents, currency, stock, min_stock.',
    tried: '{rows} Zeilen: {created} neu, {updated} geändert, {unchanged} unverändert.', imported: 'Eingelesen: {created} neu, {updated} geändert.', importNow: 'Jetzt einlesen',
    importErrors: '{n} Fehler; nichts wird eingelesen.', initial: 'Anfang', adjustment: 'Korrektur', 'import': 'Einlesen', create: 'Angelegt', update: 'Geändert', 'delete': 'Gelöscht',
    working: 'Bitte warten …', priceBad: 'muss ein Preis wie 12,50 sein', api: 'API', per: 'je {price}',
    e_network: 'Der Server ist nicht erreichbar. Steht das Netz? Nichts ging verloren: bitte noch einmal.',
    e_503: 'Die Datenbank ist gerade nicht erreichbar. Bitte gleich noch einmal versuchen.', e_504: 'Das hat zu lange gedauert. Bitte nachsehen, ob es geschehen ist.',
    e_404: 'Das gibt es nicht mehr.', e_412: 'Jemand anderes hat dies inzwischen geändert. Bitte schließen, ansehen und noch einmal ändern.',
    e_409: 'Das geht gerade nicht: {detail}', e_422: '{field}: {detail}', e_400: '{field}: {detail}', e_413: 'Das ist zu groß.', e_500: 'Das sollte nicht geschehen. Bitte nennen Sie der Verwaltung diese Nummer: {id}',
    e_stock: 'Von {sku} ist nicht genug da: noch {n}.', e_adjust: 'Es sind {n} vorrätig: so viel kann nicht entnommen werden.', e_taken_sku: 'Ein anderer Artikel hat diese Nummer.', e_taken_email: 'Ein anderer Kunde hat diese E-Mail-Adresse.',
    e_state: 'Die Bestellung hat inzwischen einen anderen Stand. Bitte noch einmal ansehen.', reload: 'Neu anzeigen',
  },
};

// What the API says of a field, in words that are not English; what is not here stays as it came.
const said = {
  de: [
    [/^must not be blank$/, 'darf nicht leer sein'], [/^is missing$/, 'fehlt'],
    [/^must be a whole number from (-?\d+) to (\d+)$/, 'muss eine ganze Zahl von $1 bis $2 sein'],
    [/^must be a whole number.*$/, 'muss eine ganze Zahl sein'], [/^must not be 0$/, 'darf nicht 0 sein'],
    [/^must not become negative$/, 'darf nicht unter 0 fallen'],
    [/^must be a price like 12.34.*$/, 'muss ein Preis wie 12,34 sein'],
    [/^has (\d+) characters; (\d+) are allowed$/, 'hat $1 Zeichen; erlaubt sind $2'],
    [/^has (\d+) characters; expected (\d+) to (\d+)$/, 'hat $1 Zeichen; erwartet werden $2 bis $3'],
    [/^must be from (-?\d+) to (\d+)$/, 'muss von $1 bis $2 sein'],
    [/^must consist of (.*)$/, 'darf nur $1 enthalten'],
    [/^must be three capital letters.*$/, 'muss aus drei Großbuchstaben bestehen (wie EUR)'],
    [/^must have the form name@domain$/, 'muss die Form name@domain haben'],
    [/^must not contain spaces.*$/, 'darf keine Leerzeichen, Anführungszeichen, Klammern, Kommas und Strichpunkte enthalten'],
    [/^has an empty label in its domain$/, 'hat eine unvollständige Domain'], [/^is longer than (\d+) bytes$/, 'ist länger als $1 Bytes'],
    [/^belongs to another article$/, 'gehört zu einem anderen Artikel'], [/^belongs to another customer$/, 'gehört zu einem anderen Kunden'],
    [/^is no customer$/, 'ist kein Kunde'], [/^is not a column.*$/, 'ist keine Spalte'],
  ],
};

export const languages = { en: 'English', de: 'Deutsch' };
const kept = localStorage.getItem('language');
export let language = kept in words ? kept : navigator.language.startsWith('de') ? 'de' : 'en';

export function setLanguage(name) {
  language = name;
  localStorage.setItem('language', name);
  document.documentElement.lang = name;
}
document.documentElement.lang = language;

export const has = (key) => key in words[language];
export function sentence(detail) {
  const [pattern, text] = (said[language] || []).find(([one]) => one.test(detail)) || [];
  return pattern ? detail.replace(pattern, text) : detail;
}
export const t = (key, values = {}) =>
  words[language][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));

const locale = () => (language === 'de' ? 'de-DE' : 'en-IE');
export const money = (cents, currency) =>
  new Intl.NumberFormat(locale(), { style: 'currency', currency }).format(cents / 100);
// Without the cents where they do not count.
export const roughMoney = (cents, currency) => (cents < 1000000 ? money(cents, currency)
  : new Intl.NumberFormat(locale(), { style: 'currency', currency, maximumFractionDigits: 0 }).format(cents / 100));
export const whole = (n) => new Intl.NumberFormat(locale()).format(n);
export const signed = (n) => new Intl.NumberFormat(locale(), { signDisplay: 'always' }).format(n);
export const moment = (text) =>
  new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(text));
export const shortDay = (text) =>
  new Intl.DateTimeFormat(locale(), { day: 'numeric', month: 'numeric', timeZone: 'UTC' }).format(new Date(text));
// "12,50", "12.5" or "1250" in cents; null when it is none.
export const cents = (text) => {
  const found = /^(\d{1,8})(?:[.,](\d{1,2}))?$/.exec(text.trim());
  return found ? Number(found[1]) * 100 + Number((found[2] || '').padEnd(2, '0')) : null;
};
export const priceText = (n) => (n / 100).toFixed(2).replace('.', language === 'de' ? ',' : '.');
