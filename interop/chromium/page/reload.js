// A call, and in the midst of it the page is loaded anew and calls again at once. The first call is not closed by the page.

import { post, sleep } from "./common.js";
import { call } from "./client.js";

export async function reload(pc, out) {
  const before = sessionStorage.getItem("before");
  if (before) out.before = JSON.parse(before);
  await call(pc, out);
  if (before) return;
  const { ok: _, peer: __, ...first } = out;
  sessionStorage.setItem("before", JSON.stringify(first));
  await post("reloading", {});
  location.reload();
  await sleep(60_000); // this page is gone before
}
