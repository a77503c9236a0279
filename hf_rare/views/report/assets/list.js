// The list of rows: only those in sight are in the page, so that ten thousand are as quick as ten.

const ITEM_HEIGHT = 58;

class RowList {
  constructor(element, spacer, draw, choose) {
    Object.assign(this, {element, spacer, draw, choose, rows: [], chosen: -1});
    element.addEventListener('scroll', () => this.show());
    new ResizeObserver(() => this.show()).observe(element);
  }

  set(rows) {
    this.rows = rows;
    this.spacer.style.height = `${rows.length * ITEM_HEIGHT}px`;
    this.element.scrollTop = 0;
    this.show();
  }

  // Draw the rows in sight, and a few on either side.
  show() {
    const first = Math.max(0, Math.floor(this.element.scrollTop / ITEM_HEIGHT) - 4);
    const last = Math.min(this.rows.length, first + Math.ceil(this.element.clientHeight / ITEM_HEIGHT) + 8);
    const items = [];
    for (let place = first; place < last; place++) {
      const number = this.rows[place];
      const item = make('div', {
        class: 'item', role: 'option', id: `item-${number}`, 'aria-selected': number === this.chosen,
        'aria-setsize': this.rows.length, 'aria-posinset': place + 1, onclick: () => this.choose(number),
      }, ...this.draw(number));
      item.style.top = `${place * ITEM_HEIGHT}px`;
      items.push(item);
    }
    this.spacer.replaceChildren();
    this.element.replaceChildren(this.spacer, ...items);
    if (this.chosen >= 0) this.element.setAttribute('aria-activedescendant', `item-${this.chosen}`);
  }

  select(number) {
    this.chosen = number;
    const top = this.rows.indexOf(number) * ITEM_HEIGHT;
    if (top >= 0 && top < this.element.scrollTop) this.element.scrollTop = top;
    const bottom = top + ITEM_HEIGHT - this.element.clientHeight;
    if (top >= 0 && bottom > this.element.scrollTop) this.element.scrollTop = bottom;
    this.show();
  }

  // Give the row some steps further on; the first where none of the listed rows is chosen.
  step(steps) {
    const place = this.rows.indexOf(this.chosen);
    return place < 0 ? this.rows[0] : this.rows[Math.min(this.rows.length - 1, Math.max(0, place + steps))];
  }
}
