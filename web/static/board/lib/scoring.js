// The rules of core/rules/scoring.py, in the same order of operations: the results are identical doubles.

const MAX_CENTS = 999_999_999_999;

export function score(terms, price, responseTime, weight) {
  return terms.alpha * price + bonusOf(terms, responseTime) + loyaltyOf(terms, weight);
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

/** The parts of a score that are not the price's: the early bonus at this time, and loyalty. */
export const bonusOf = (terms, responseTime) => terms.beta / (responseTime + 1);
export const loyaltyOf = (terms, weight) => terms.gamma * weight;

/**
 * The lowest price that wins now, for a member who does not: {price, rank}; null for a winner
 * (`own` is {rank, price} or null), to whom more would only cost more.
 */
export function nextStep(terms, board, own, responseTime, weight) {
  if (own != null && own.rank <= terms.inventory) return null;
  if (board.total_count < terms.inventory) {
    return { price: terms.upset_price, rank: board.total_count + 1 };
  }
  const target = board.threshold_score;
  const price = target == null ? null : priceToPass(terms, responseTime, weight, target);
  return price == null ? null : { price, rank: terms.inventory };
}

/** The rank that a score of this member would have; null below the last place that the board lists. */
export function rankOf(board, userId, points) {
  const others = board.leaderboard.filter((entry) => entry.user_id !== userId);
  const ahead = others.filter((entry) => entry.score >= points).length;
  return ahead === others.length && board.total_count > board.leaderboard.length ? null : ahead + 1;
}

/** How far a winner is ahead of the best loser: Infinity if nobody loses, null if the board does not list that one. */
export function marginOf(terms, board, own) {
  if (board.total_count <= terms.inventory) return Infinity;
  const loser = board.leaderboard[terms.inventory];
  return loser ? own.score - loser.score : null;
}
