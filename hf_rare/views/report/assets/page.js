// The page as a whole: what is shown stands in its address, behind the `#`, so that every number can be a plain link.

const VIEWS = ['overview', 'rows', 'made'];
const find = (id) => document.getElementById(id);

class Page {
  constructor(index) {
    this.index = index;
    this.rows = [];
    this.texts = [];
    this.isWhole = false;
    this.listed = null; // what the list was made for
    this.marks = new Marks(index.marks, index.digest);
    this.open = {here: 0, other: 0};
    this.list = new RowList(find('list'), find('spacer'), (number) => this.drawItem(number), (number) => this.choose(number));
    this.labels = new Map(index.facets);
    this.fillSelects();
    find('marks-help').textContent = `mark the row: ${index.marks.map((name, i) => `${i + 1} ${name}`).join(', ')}`;
    window.addEventListener('hashchange', () => this.read());
    document.addEventListener('keydown', (event) => this.press(event));
    let waiting;
    find('search').addEventListener('input', () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.go({q: find('search').value}), 120);
    });
    find('queue').addEventListener('change', (event) => this.go({f: event.target.value ? [this.ofQueue(event.target.value)] : []}));
    find('add').addEventListener('change', (event) => this.go({f: [...this.filters, event.target.value]}));
    find('export').addEventListener('click', () => this.marks.download(index));
    find('help').addEventListener('click', () => find('keys').showModal());
    this.read();
  }

  ofQueue(value) {
    return value === 'marked' ? 'marked:' : `here:${value}`;
  }

  fillSelects() {
    const select = find('add');
    const groups = new Map();
    const sides = this.index.rows.some((entry) => entry[5].length) ? ['here', 'other'] : ['here'];
    for (const side of sides) {
      for (const [name, label] of this.index.facets) {
        const title = `${groupOf(name)}${sides.length > 1 ? `, ${this.index.names[sides.indexOf(side)]}` : ''}`;
        if (!groups.has(title)) groups.set(title, make('optgroup', {label: title}));
        groups.get(title).append(make('option', {value: `${side}:${name}`}, label));
      }
    }
    select.append(...groups.values());
  }

  // Take what is shown from the address.
  read() {
    const said = new URLSearchParams(location.hash.slice(1));
    const view = VIEWS.includes(said.get('view')) ? said.get('view') : 'overview';
    const filters = said.getAll('f').filter((filter) => filter !== '');
    const words = said.get('q') ?? '';
    for (const name of VIEWS) find(name).hidden = name !== view;
    for (const link of document.querySelectorAll('nav a')) {
      if (link.dataset.view === view) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    document.documentElement.style.setProperty('--head', `${document.querySelector('body > header').offsetHeight}px`);
    [this.view, this.filters, this.words] = [view, filters, words];
    if (view !== 'rows') {
      window.scrollTo(0, 0);
      return;
    }
    const hasChanged = this.listed !== this.asked(); // other views have no filters, and leave the list as it was
    if (hasChanged) this.filter();
    else this.list.show();
    const number = Number(said.get('at') ?? -1);
    if (said.has('at') && this.index.rows[number]) this.choose(number, false);
    else if (hasChanged || !this.list.rows.includes(this.list.chosen)) this.choose(this.list.rows[0] ?? -1, false);
  }

  // Change some of what is shown, and the address with it.
  go(changes) {
    const {view, f, q} = {view: 'rows', f: this.filters, q: this.words, ...changes};
    const said = new URLSearchParams([['view', view], ...f.filter(Boolean).map((filter) => ['f', filter])]);
    if (q) said.set('q', q);
    location.hash = said;
  }

  // What the list depends on.
  asked() {
    const marked = this.filters.includes('marked:') ? [...this.marks.of.keys()] : [];
    return JSON.stringify([this.filters, this.words, this.words && this.isWhole, marked]);
  }

  filter() {
    this.listed = this.asked();
    const {here, other} = readFilters(this.filters.filter((filter) => filter !== 'marked:'), this.index.facets);
    const found = this.words ? searchRows(this.words, this.index, this.rows, this.texts) : null;
    const isMarked = this.filters.includes('marked:');
    const rows = [];
    this.index.rows.forEach((entry, i) => {
      if (!fits(entry[4], here) || !fits(entry[5], other)) return;
      if ((found && !found[i]) || (isMarked && !this.marks.of.has(i))) return;
      rows.push(i);
    });
    this.list.set(rows);
    this.drawFilters();
  }

  drawFilters() {
    if (find('search').value !== this.words) find('search').value = this.words;
    const queue = this.filters.length === 1 ? this.filters[0].replace(/^here:|:$/g, '') : '';
    find('queue').value = [...find('queue').options].some((option) => option.value === queue) ? queue : '';
    find('add').value = '';
    find('chips').replaceChildren(...this.filters.map((filter) => make('button', {
      type: 'button', title: 'take this filter away', onclick: () => this.go({f: this.filters.filter((one) => one !== filter)}),
    }, `${this.labelOf(filter)} ×`)));
    const count = (number) => number.toLocaleString('en');
    const of = this.index.rows.length < this.index.rows_in_all
      ? `${count(this.index.rows.length)} in this page, ${count(this.index.rows_in_all)} in all` : `${count(this.index.rows.length)}`;
    const wait = this.words && !this.isWhole ? '; texts are being unpacked' : '';
    find('found').textContent = `${count(this.list.rows.length)} of ${of}${wait}`;
  }

  labelOf(filter) {
    if (filter === 'marked:') return 'marked';
    const [side, name] = [filter.slice(0, filter.indexOf(':')), filter.slice(filter.indexOf(':') + 1)];
    const of = {place: 'positive at ', split: 'split ', tokens: 'tokens ', first: 'right at attempt '}[groupOf(name)] ?? '';
    return `${side === 'other' ? `${this.index.names[1]}: ` : ''}${of}${this.labels.get(name) ?? name}`;
  }

  nameOf(number) {
    const [row, split, key] = this.index.rows[number];
    const of = this.index.splits.length > 1 ? `${this.index.splits[split]} ` : '';
    return key === null ? `${of}row ${row}` : `${of}${key}`;
  }

  drawItem(number) {
    const [, , , title, traces] = this.index.rows[number];
    const names = new Set(traces.flat().map((facet) => this.index.facets[facet][0]));
    const said = [...names].filter((name) => /^(status|verdict)\//.test(name)).map((name) => this.labels.get(name));
    const tags = said.map((label) => tagOf(label, kindOf(label)));
    const mark = this.marks.nameOf(number);
    return [
      make('div', {}, title || '(no question)'),
      make('div', {class: 'under'}, ...(mark ? [make('b', {}, `${mark} · `)] : []), `${this.nameOf(number)} `, ...tags.flatMap((tag) => [tag, ' '])),
    ];
  }

  choose(number, isNoted = true) {
    this.open = {here: this.firstFitting(number), other: 0};
    this.list.select(number);
    if (isNoted && number >= 0) {
      const said = new URLSearchParams(location.hash.slice(1));
      said.set('at', number);
      history.replaceState(null, '', `#${said}`);
    }
    find('row').scrollTop = 0;
    this.draw();
  }

  // The trace that the filters are about comes first.
  firstFitting(number) {
    const {here} = readFilters(this.filters.filter((filter) => filter !== 'marked:'), this.index.facets);
    const traces = number >= 0 ? this.index.rows[number][4] : [];
    return Math.max(0, traces.findIndex((names) => traceFits(names, here)));
  }

  draw() {
    const number = this.list.chosen;
    if (number < 0) {
      find('row').replaceChildren(make('p', {class: 'note'}, 'No row has all of this.'));
      return;
    }
    const row = this.rows[number];
    if (!row) {
      find('row').replaceChildren(make('p', {class: 'note'}, 'The row is being unpacked …'));
      return;
    }
    const mark = this.marks.of.get(number);
    const buttons = this.index.marks.map((name, i) => make('button', {
      type: 'button', class: 'mark', 'aria-pressed': mark === i, onclick: () => this.mark(mark === i ? -1 : i),
    }, make('kbd', {}, `${i + 1}`), ` ${name}`));
    const place = this.list.rows.indexOf(number);
    const head = [
      make('b', {}, this.nameOf(number)),
      make('span', {}, place >= 0 ? `${(place + 1).toLocaleString('en')} of ${this.list.rows.length.toLocaleString('en')}` : ''),
      make('span', {}, row.prompt_tokens !== null ? `prompt of ${row.prompt_tokens.toLocaleString('en')} tokens` : ''),
      ...buttons,
    ];
    find('row').replaceChildren(...drawRow(row, this.texts, {
      names: this.index.names, quoteWords: this.index.min_quote_words, open: this.open, marks: head,
      choose: (side, trace) => {
        this.open[side] = trace;
        this.draw();
      },
    }));
  }

  mark(mark) {
    if (this.list.chosen < 0) return;
    this.marks.set(this.list.chosen, mark);
    this.list.show();
    this.draw();
  }

  step(steps) {
    const next = this.list.step(steps);
    if (next === this.list.chosen) this.list.select(next); // it may be out of sight
    else if (next !== undefined) this.choose(next);
  }

  turn(steps) {
    const row = this.rows[this.list.chosen];
    if (!row) return;
    const turned = (traces, open) => Math.min(Math.max(0, traces.length - 1), Math.max(0, open + steps));
    this.open = {here: turned(row.traces, this.open.here), other: turned(row.others ?? [], this.open.other)};
    this.draw();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || find('keys').open) return;
    const isTyping = event.target.matches('input, select, textarea');
    if (event.key === 'Escape') {
      if (isTyping) event.target.blur();
      else if (this.view === 'rows') this.go({f: [], q: ''});
      return;
    }
    if (isTyping) return;
    const actions = {
      '?': () => find('keys').showModal(), o: () => this.go({view: 'overview'}), r: () => this.go({view: 'rows'}),
    };
    if (this.view === 'rows') {
      Object.assign(actions, {
        j: () => this.step(1), k: () => this.step(-1), ArrowDown: () => this.step(1), ArrowUp: () => this.step(-1),
        '[': () => this.turn(-1), ']': () => this.turn(1), '/': () => find('search').focus(),
      });
      if (event.key.startsWith('Arrow') && document.activeElement !== find('list')) return;
      if (/^[0-9]$/.test(event.key) && Number(event.key) <= this.index.marks.length) {
        actions[event.key] = () => this.mark(Number(event.key) - 1);
      }
    }
    if (Object.hasOwn(actions, event.key)) {
      event.preventDefault();
      actions[event.key]();
    }
  }
}

async function begin() {
  const page = new Page(await unpack(find('index')));
  document.body.dataset.isListed = 'yes';
  await unpackRows((rows, texts) => {
    const isAwaited = page.list.chosen >= 0 && !find('row').querySelector('.beside');
    [page.rows, page.texts] = [rows, texts];
    if (isAwaited) page.draw();
  });
  page.isWhole = true;
  if (page.words) page.filter();
  document.body.dataset.isWhole = 'yes';
}

begin();
