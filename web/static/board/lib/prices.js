// Prices as people type them, in the order and with the signs of their locale.

import { locale } from "./format.js";

const MAX_PRICE = 9_999_999_999.99;
// The API's prices have two decimals, whatever the currency.
const MAX_DECIMALS = 2;
// Zeros of the digits that keyboards write: Arabic, Persian, Devanagari, Bengali, full width.
const ZEROS = "٠۰०০０";
const OTHER = { ".": ",", ",": "." };

/**
 * Read a price. Returns `{price}` in the currency's units, or `{problem}`: "empty", "invalid",
 * "unclear" (may mean two prices), or "large".
 *
 * The locale's decimal sign decides. Its opposite counts only where it cannot mean thousands:
 * 250,50 is 250.50 everywhere, 1,250 is 1250 where a comma separates thousands, and unclear
 * where it separates decimals.
 */
export function parsePrice(typed, currency, language = locale) {
  const decimal = decimalSign(language);
  const text = bare(typed, currency, language, decimal);
  if (!text) return { problem: "empty" };
  const most = Math.min(MAX_DECIMALS, decimalsOf(currency));
  const own = read(text, decimal);
  const other = read(text, OTHER[decimal]);
  // Elsewhere a single sign before three digits separates decimals: it is the locale's to say.
  const found = own ?? (other && (other.decimals || other.groups > 1) ? other : null);
  if (!found) return { problem: "invalid" };
  if (found.decimals > most && !(decimalsOf(currency) > most && /0$/.test(text))) {
    return { problem: own && other ? "unclear" : "invalid" };
  }
  return found.price > MAX_PRICE ? { problem: "large" } : { price: found.price };
}

/** A price as it may be typed: 1250.50. */
export function typedPrice(price, currency, language = locale) {
  const digits = Math.min(MAX_DECIMALS, decimalsOf(currency));
  return new Intl.NumberFormat(language, { useGrouping: false, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(price);
}

/** The text read with this decimal sign; null unless its groups and decimals are well-formed. */
function read(text, decimal) {
  const group = `[${OTHER[decimal]}' ]`;
  const pattern = new RegExp(`^(\\d+|\\d{1,3}(?:(${group})\\d{2,3}(?:\\2\\d{2,3})*)?)(?:\\${decimal}(\\d+))?$`);
  const match = pattern.exec(text);
  if (!match) return null;
  const [, whole, sign, decimals = ""] = match;
  const groups = sign ? whole.split(sign) : [whole];
  if (groups.length > 1 && groups.at(-1).length !== 3) return null;
  return { price: Number(`${groups.join("")}.${decimals || 0}`), decimals: decimals.length, groups: groups.length - 1 };
}

/** Only digits and signs: without the currency, with ASCII digits, one kind of space and apostrophe. */
function bare(typed, currency, language, decimal) {
  const symbol = partOf(new Intl.NumberFormat(language, { style: "currency", currency }), "currency");
  return [...typed.normalize("NFC")].map(asciiDigit).join("")
    .replace(symbol, "").replace(new RegExp(currency, "i"), "")
    .replaceAll("٫", decimal).replaceAll("٬", OTHER[decimal])
    .replace(/[\u200e\u200f\u061c]/g, "").replace(/\s/g, " ").replace(/[’ʼ`]/g, "'")
    .trim()
    .replace(/[.,][-–—]{1,2}$/, ""); // 250,– is 250
}

function asciiDigit(character) {
  for (const zero of ZEROS) {
    const digit = character.codePointAt(0) - zero.codePointAt(0);
    if (digit >= 0 && digit <= 9) return String(digit);
  }
  return character;
}

function decimalSign(language) {
  return partOf(new Intl.NumberFormat(language), "decimal", 1.5) === "," ? "," : ".";
}

const partOf = (format, type, value = 1) => format.formatToParts(value).find((part) => part.type === type)?.value ?? "";

const decimalsOf = (currency) => new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
