// A text -> token ids, as the model's tokenizer cuts it.

const GRAPHEMES = new Intl.Segmenter("en", { granularity: "grapheme" });
const IN_WORDS = /^(?!\p{Script=Han})[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u;
const IN_NO_TOKEN = /^[\p{White_Space}\p{Cc}\p{Cf}]/u;
const FORMS = {
  nfc: text => text.normalize("NFC"),
  nfd: text => text.normalize("NFD"),
  nfkc: text => text.normalize("NFKC"),
  no_accents: text => text.replace(/[\u0300-\u036f]+/g, ""),
  lowercase: text => Array.from(text, c => c.toLowerCase()).join(""),  // each alone: no final sigma
};
const CUTS = { char: text => Array.from(text), word: cutIntoWords, whitespace: text => text.split(/\p{White_Space}+/u).filter(Boolean) };

// A word is a run of graphemes that begin with a letter, mark or digit; a symbol or a Han character stands alone.
function cutIntoWords(text) {
  const pieces = [];
  let word = "";
  const endWord = () => { if (word) pieces.push(word); word = ""; };
  for (let { segment } of GRAPHEMES.segment(text)) {
    while (IN_NO_TOKEN.test(segment)) {
      endWord();
      segment = segment.slice(String.fromCodePoint(segment.codePointAt(0)).length);
    }
    if (IN_WORDS.test(segment)) word += segment;
    else if (segment) { endWord(); pieces.push(segment); }
  }
  endWord();
  return pieces;
}

function makeTokenizer(spec) {
  const ids = new Map(spec.vocabulary.map((token, id) => [token, id]));
  const escaped = text => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  const blank = "\\p{White_Space}*";
  const marks = [...spec.special].sort((a, b) => b[0].length - a[0].length);
  const special = new RegExp("(" + marks.map(([name, left, right]) =>
    (left ? blank : "") + escaped(name) + (right ? blank : "")).join("|") + ")", "u");
  const named = piece => marks.find(([name]) => piece.includes(name))[0];
  const token = id => ({ id, text: spec.vocabulary[id], isSpecial: true });

  function cut(text) {
    const form = spec.form.reduce((written, name) => FORMS[name](written), text);
    return CUTS[spec.kind](form).map(piece =>
      ids.has(piece) ? { id: ids.get(piece), text: piece } : { id: spec.unknown, text: piece, isUnknown: true });
  }
  // Between the parentheses of the expression stands a special token: each second part is one.
  return function tokenize(text) {
    const parts = text.toWellFormed().split(special);
    const found = parts.flatMap((part, i) => i % 2 ? [token(ids.get(named(part)))] : cut(part));
    return [...spec.prefix.map(token), ...found, ...spec.suffix.map(token)];
  };
}
