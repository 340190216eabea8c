// The rules of core/rules/scoring.py, in the same order of operations: the results are identical doubles.

const MAX_CENTS = 999_999_999_999;

export function score(terms, price, responseTime, weight) {
  return terms.alpha * price + terms.beta / (responseTime + 1) + terms.gamma * weight;
}

/**
 * The lowest price, to the cent, that scores above `target`; null when none does.
 * A tie is not enough: equal scores rank by earlier acceptance.
 */
export function priceToPass(terms, responseTime, weight, target) {
  const passes = (cents) => score(terms, cents / 100, responseTime, weight) > target;
  let high = MAX_CENTS;
  let low = Math.ceil(terms.upset_price * 100 - 1e-6);
  if (passes(low)) return low / 100;
  if (!passes(high)) return null;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (passes(middle)) high = middle;
    else low = middle;
  }
  return high / 100;
}

/**
 * The next step up from `own` ({rank, price} or null): {price, rank}, or null at the top.
 * For a losing bid that is the last winning place; for a winning bid the place above, or the
 * last one on the board's page if that one is lower.
 */
export function nextStep(terms, board, own, responseTime, weight) {
  const wins = own != null && own.rank <= terms.inventory;
  if (own?.rank === 1) return null;
  if (!wins && board.total_count < terms.inventory) {
    return { price: terms.upset_price, rank: board.total_count + 1 };
  }
  const rank = wins ? Math.min(own.rank - 1, board.leaderboard.length) : terms.inventory;
  const target = wins ? board.leaderboard[rank - 1]?.score : board.threshold_score;
  if (target == null) return null;
  const price = priceToPass(terms, responseTime, weight, target);
  return price == null ? null : { price, rank };
}
