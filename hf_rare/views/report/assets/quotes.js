// Where a trace says the very words of a document: runs of words, without case and punctuation, on both sides.

const ALONE = '\\p{sc=Han}\\p{sc=Hiragana}\\p{sc=Katakana}\\p{sc=Thai}\\p{sc=Lao}\\p{sc=Myanmar}\\p{sc=Khmer}';
const WORD = new RegExp(`[${ALONE}]|(?:(?![${ALONE}])[\\p{L}\\p{N}\\p{M}])+`, 'gu'); // those scripts have no spaces

function splitWords(text) {
  return [...text.matchAll(WORD)].map((match) => ({
    word: match[0].normalize('NFKC').toLowerCase(), start: match.index, end: match.index + match[0].length,
  }));
}

function runAt(words, place, size) {
  let run = '';
  for (let i = place; i < place + size; i++) run += words[i].word + ' ';
  return run;
}

// Give quotes as {document, start, end, from, to}: a stretch of the trace, and the same of the document.
function findQuotes(trace, documents, asked, size) {
  const words = splitWords(trace);
  const excluded = new Set();
  for (const text of asked) {
    const own = splitWords(text);
    for (let i = 0; i + size <= own.length; i++) excluded.add(runAt(own, i, size));
  }
  const wanted = new Set();
  for (let i = 0; i + size <= words.length; i++) wanted.add(runAt(words, i, size));
  const quotes = [];
  documents.forEach((text, document) => {
    const own = splitWords(text);
    const places = new Map();
    for (let i = 0; i + size <= own.length; i++) {
      const run = runAt(own, i, size);
      if (wanted.has(run) && !excluded.has(run)) places.set(run, [...(places.get(run) ?? []), i]);
    }
    for (let i = 0; i + size <= words.length;) {
      let longest = 0;
      let from = 0;
      for (const place of places.get(runAt(words, i, size)) ?? []) {
        let length = size;
        while (words[i + length] && own[place + length] && words[i + length].word === own[place + length].word) length++;
        if (length > longest) [longest, from] = [length, place];
      }
      if (longest) {
        quotes.push({document, start: words[i].start, end: words[i + longest - 1].end, from: own[from].start,
          to: own[from + longest - 1].end});
      }
      i += longest || 1;
    }
  });
  return quotes;
}

// Cut a text where stretches begin and end, and give each piece with the stretches that it lies in.
function cutText(text, stretches) {
  const cuts = new Set([0, text.length]);
  for (const {start, end} of stretches) cuts.add(start).add(end);
  const places = [...cuts].sort((one, other) => one - other);
  return places.slice(1).map((end, i) => ({
    text: text.slice(places[i], end),
    within: stretches.filter((stretch) => stretch.start <= places[i] && end <= stretch.end),
  }));
}
