// Every text that a reader of the page sees. A translation is another file like this one.

export const common = {
  brand: "Flashbid",
  loading: "Loading …",
  notAvailable: "Not available",
  unreachable: "Can't reach the server. Trying again …",
  unconfirmedBid: "We couldn't confirm your bid. Tap again; the same bid never counts twice.",
  unconfirmedAction: "We couldn't confirm this. Please try again.",
  failed: "The request failed. Please try again.",
  cancel: "Cancel",
  previous: "Previous",
  next: "Next",
  pageOf: (page, pages) => `Page ${page} of ${pages}`,
};

export const nav = {
  sessions: "Sessions",
  admin: "Admin",
  signIn: "Sign in",
  signingIn: "Signing in …",
  signOut: "Sign out",
};

export const console = {
  menu: "Console",
  title: "Admin",
  overview: "Overview",
  figures: "Key figures",
  backlog: "Backlog",
  accepted: "Bids accepted",
  acceptedRate: "Accepted per second",
  persistedRate: "Persisted per second",
  activeSessions: "Active sessions",
  members: "Members",
  newSession: "New session",
  create: "Create session",
  name: "Name",
  description: "Description",
  startingPrice: "Starting price",
  items: "Items",
  minutes: "Minutes",
  alpha: "Alpha (price)",
  beta: "Beta (speed)",
  gamma: "Gamma (weight)",
};
