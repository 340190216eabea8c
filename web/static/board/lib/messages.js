// Every text that a member sees; those of the console are in console/messages.js. A translation is
// another file like this one.

export const common = {
  brand: "Flashbid",
  loading: "Loading …",
  notAvailable: "Not available",
  unreachable: "Can't reach the server. Trying again …",
  unconfirmedBid: "We couldn't confirm your bid. Tap again; the same bid never counts twice.",
  unconfirmedAction: "We couldn't confirm this. Please try again.",
  failed: "The request failed. Please try again.",
  marked: "Please correct what is marked.",
  tryAgain: "Try again",
  cancel: "Cancel",
  previous: "Previous",
  next: "Next",
  pageOf: (page, pages) => `Page ${page} of ${pages}`,
};

const SUFFIXES = { one: "st", two: "nd", few: "rd", other: "th" };
const ordinals = new Intl.PluralRules("en", { type: "ordinal" });
const ordinal = (rank) => `${rank}${SUFFIXES[ordinals.select(rank)]}`;

export const words = {
  /** 1 item, 2 items. */
  counted: (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`,
  item: "item",
  /** What a session sells, and its starting price. */
  facts: (items, price) => `${items} · starting price ${price}`,
  /** 1st, 2nd. */
  ordinal,
  place: (rank) => `${ordinal(rank)} place`,
  seconds: (count) => `${count} s`,
  minutes: (count) => `${count} min`,
  hours: (count) => `${count} h`,
  days: (count, rest) => `${count} d ${rest}`,
};

export const nav = {
  sessions: "Sessions",
  news: "News",
  unread: "unread",
  admin: "Admin",
  signIn: "Sign in",
  signingIn: "Signing in …",
  signOut: "Sign out",
};

export const list = {
  title: "Sessions",
  none: "No sessions yet. New ones appear here automatically.",
  open: "Open now",
  toCome: "To come",
  over: "Over",
  remind: "Remind me",
  remindOf: (name) => `Remind me of ${name}`,
};

export const account = {
  title: "Your account",
  signIn: "Sign in",
  signUp: "Sign up",
  username: "Username",
  email: "E-mail",
  password: "Password",
  emailNews: "Send me e-mails when I am outbid, and before sales that I want to be reminded of",
};

export const news = {
  title: "News",
  none: "No news yet. You read here when you are outbid, and how your sales end.",
  offers: "Your offers",
  readAll: "Mark all read",
  allRead: "All news are read.",
  unread: "New",
  kinds: {
    session_ended: "Result",
    session_cancelled: "Cancelled",
    offer_opened: "Offer",
    offer_ended: "Offer",
    outbid: "Outbid",
    starting: "Starts soon",
    webhook_disabled: "Webhook disabled",
  },
  states: { paid: "Paid", declined: "Declined", expired: "Not paid in time", withdrawn: "Withdrawn by the shop" },
  pay: (price, deadline) => `Pay ${price} by ${deadline}`,
  decline: "Decline",
  declineOf: (name) => `Decline ${name}`,
  declineTitle: (name) => `Decline ${name}?`,
  declineText: "The item goes to the next bidder. You cannot get it back.",
};

export const timer = {
  ended: "Ended",
  cancelled: "Cancelled",
  startsIn: (time) => `Starts in ${time}`,
  waiting: "00:00 · waiting for results",
  paused: "Paused · ",
  left: (time) => `${time} left`,
};

export const board = {
  links: { connecting: "Connecting …", live: "Live", polling: "Updating every second", offline: "Connection lost. Reconnecting …" },
  cancelled: "Cancelled",
  final: "Final",
  announcements: {
    lastSeconds: "Last seconds.",
    cancelled: "The shop has cancelled this session. Nobody wins.",
    ended: "The session has ended. The results are final.",
  },
  verbs: { activate: "Activate", deactivate: "Deactivate", close: "Close permanently" },

  caption: (inventory) => `Leaderboard: ${inventory === 1 ? "first place wins" : `the top ${inventory} win`}`,
  heads: ["Rank", "Member", "Price", "Score"],
  noBids: "No bids yet.",
  you: "you",
  threshold: "Threshold",
  nothingToBeat: "Score to beat: no bids yet",
  toBeat: "Score to beat",
  plot: (last, low, high, since) => `Score to beat ${last}, from ${low} to ${high} in the last ${since}`,
  ago: (since) => `${since} ago`,
  now: "now",

  yourBid: "Your bid",
  bid: "Bid",
  signIn: "Sign in to bid",
  standing: (place, price, wins) => `You are in ${place} with ${price}: ${wins ? "winning" : "not winning"}.`,
  lastKnown: (place, price) => `Last known: ${place} with ${price}. Checking …`,
  finished: (place, price, wins) => `You finished in ${place} with ${price}: you ${wins ? "won" : "did not win"}.`,
  margin: (points) => `Winning by ${points} points. You need not bid more.`,
  closeMargin: "Winning by less than 0.01 points.",
  noRival: "Nobody is left without an item. You need not bid more.",
  step: (price, place) => `Bid ${price} for ${place}`,
  again: (price) => `Send ${price} again`,
  price: (currency) => `Your price (${currency})`,
  placeBid: "Place bid",
  pays: {
    pay_as_bid: (currency) => `If you win, you pay your bid, in ${currency}.`,
    second_score: (currency) => `If you win, you pay the lowest price, in ${currency}, that would still have won: never more than your bid.`,
  },
  rule: (parts) => `Points now = ${parts.join(" + ")}`,
  pricePart: (alpha) => `${alpha} × price`,
  bonusPart: (bonus) => `${bonus} early bonus`,
  loyaltyPart: (loyalty) => `${loyalty} loyalty`,
  loyaltyOfGuests: "loyalty for earlier sessions",
  falling: "The early bonus falls every second. A new price gets the bonus of its own moment.",

  prices: {
    empty: (example) => `Write a price, for example ${example}.`,
    invalid: (example) => `This is no price. Write it like ${example}.`,
    unclear: (example) => `This can mean two prices. Write it like ${example}, without signs between thousands.`,
    large: () => "A price has at most ten digits before the decimals.",
  },
  belowStart: (price) => `The starting price is ${price}.`,
  same: "This is your bid already. Sending it again changes nothing.",
  binds: (price) => `Your bid of ${price} can only be raised.`,
  preview: (points, place, wins) => `${points} points now: ${place}, ${wins ? "winning" : "not winning"}.`,
  previewOfWinner: (points, place) => `${points} points now: ${place}. You are winning already with less.`,
  loses: (price, before, after) => `Raising to ${price} loses your early bonus: ${before} → ${after}.`,
  lowers: (price, before, after) => `Lowering to ${price}: ${before} → ${after}.`,
  below: (place) => `below ${place}`,
  notPlaced: (price, points, standing) => `Not placed: ${price} would not improve your bid, because later bids score less (${points} now, yours has ${standing}).`,
  notLowered: (price, points, standing) => `Not placed: ${price} has ${points} points, your bid has ${standing}.`,
  orMore: (price) => ` Bid ${price} or more.`,
  dropTitle: "This makes your place worse",
  dropText: (loss, points, standing) => `${loss} It has ${points} points, your bid has ${standing}.`,
  dropButton: "Place it anyway",
  muchTitle: "Is this the price you mean?",
  muchText: (price, times, needed) => `${price} is ${times} times what is needed now, ${needed}.`,
  muchButton: (price) => `Bid ${price}`,

  results: "Results",
  finalPrice: "Final price",
  won: (winners, bidders) => ` · ${winners} of ${bidders} won`,
  winner: (name, price) => `${name} · ${price}`,
  winnerPays: (name, price, pays) => `${name} · ${price}, pays ${pays}`,
  offers: {
    open: (price, until) => `You won: pay ${price} by ${until}.`,
    paid: (price) => `You won and have paid ${price}.`,
    declined: () => "You have declined your item.",
    expired: (price, until) => `The time to pay ended at ${until}. Your item goes to the next place.`,
    withdrawn: () => "The shop has withdrawn your offer.",
  },
  decline: "Decline the item",
  declineTitle: "Decline the item?",
  declineText: "It goes to the next place. You cannot take this back.",
  lost: (rank, bidders) => `You finished ${rank} of ${bidders}.`,
  lostBy: (last, own) => ` The last winner had ${last} points, you had ${own}`,
  lostMore: (price) => `: ${price} more would have won`,
};
