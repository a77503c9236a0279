// What rows are marked as. The browser keeps marks for this page where it may; a file takes them back to Python.

class Marks {
  constructor(names, digest) {
    Object.assign(this, {names, key: `hf-rare-report-${digest}`, of: new Map()});
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) ?? '[]');
      this.of = new Map(kept.filter(([, mark]) => mark < names.length));
    } catch { /* the browser keeps nothing for files */ }
  }

  set(number, mark) {
    if (mark < 0) this.of.delete(number);
    else this.of.set(number, mark);
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.of]));
    } catch { /* as above */ }
  }

  nameOf(number) {
    return this.of.has(number) ? this.names[this.of.get(number)] : '';
  }

  // Numbers of rows by mark and split, for `Dataset.select`, and their keys where a column has them.
  export(index) {
    const rows = {};
    const keys = {};
    const numbers = [...this.of.keys()].sort((one, other) => one - other);
    this.names.forEach((name, mark) => {
      const own = numbers.filter((number) => this.of.get(number) === mark);
      rows[name] = Object.fromEntries(index.splits.map((split) => [split, []]));
      for (const number of own) rows[name][index.splits[index.rows[number][1]]].push(index.rows[number][0]);
      keys[name] = own.map((number) => index.rows[number][2]);
    });
    const marked = {title: index.title, rows};
    return index.key_column === null ? marked : {...marked, key_column: index.key_column, keys};
  }

  download(index) {
    const text = JSON.stringify(this.export(index), null, 2);
    const address = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
    make('a', {href: address, download: 'marks.json'}).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
}
