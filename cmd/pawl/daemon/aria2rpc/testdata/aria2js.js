// Drives aria2's RPC with the library aria2 of npm, over HTTP and then over a WebSocket: aria2js.js PORT SECRET URL.
// URL/quick is a small file, URL/slow one that takes minutes.
const assert = require("assert");
const Aria2 = require("aria2");

const [port, secret, url] = process.argv.slice(2);

async function drive(transport) {
  const aria2 = new Aria2({ host: "127.0.0.1", port, secret });
  const seen = [];
  let look = () => {};
  for (const event of ["onDownloadStart", "onDownloadPause", "onDownloadStop", "onDownloadComplete", "onDownloadError"]) {
    aria2.on(event, ([{ gid }]) => {
      seen.push(event + " " + gid);
      look();
    });
  }
  // The notifications always come over a WebSocket. In the first round, another client makes the calls.
  await aria2.open();
  const caller = transport === "http" ? new Aria2({ host: "127.0.0.1", port, secret }) : aria2;
  const wait = (event, gid) =>
    new Promise((resolve) => {
      look = () => {
        const i = seen.indexOf(event + " " + gid);
        if (i >= 0) {
          seen.splice(i, 1);
          look = () => {};
          resolve();
        }
      };
      look();
    });
  const call = (method, ...params) => caller.call(method, ...params);
  const waiting = async () => (await call("tellWaiting", 0, 100, ["gid"])).map((task) => task.gid);

  const gids = [];
  for (let i = 0; i < 3; i++) {
    gids.push(await call("addUri", [`${url}/quick-${transport}-${i}`], { pause: "true" }));
  }
  assert.deepStrictEqual(await waiting(), gids);
  assert.strictEqual(await call("changePosition", gids[2], 0, "POS_SET"), 0);
  assert.deepStrictEqual(await waiting(), [gids[2], gids[0], gids[1]]);
  assert.strictEqual(await call("changeOption", gids[0], { "max-download-limit": "1M" }), "OK");
  assert.strictEqual((await call("getOption", gids[0]))["max-download-limit"], "1048576");
  await call("unpause", gids[0]);
  await wait("onDownloadStart", gids[0]);
  await wait("onDownloadComplete", gids[0]);
  assert.strictEqual((await call("tellStatus", gids[0])).status, "complete");

  const slow = await call("addUri", [`${url}/slow-${transport}`], {});
  await wait("onDownloadStart", slow);
  await call("pause", slow);
  await wait("onDownloadPause", slow);
  await call("unpause", slow);
  await wait("onDownloadStart", slow);
  await call("remove", slow);
  await wait("onDownloadStop", slow);
  const missing = await call("addUri", [`${url}/404-${transport}`], {});
  await wait("onDownloadError", missing);
  await assert.rejects(call("pause", missing), { code: 1 });

  const several = await caller.multicall([["tellStatus", gids[1], ["gid"]], ["getGlobalStat"]]);
  assert.deepStrictEqual(several[0], [{ gid: gids[1] }]);
  const batch = await Promise.all(await caller.batch([["tellStatus", gids[2], ["gid"]], ["getSessionInfo"]]));
  assert.deepStrictEqual(batch[0], { gid: gids[2] });
  assert.ok((await caller.listMethods()).includes("addUri"));
  assert.ok((await caller.listNotifications()).includes("onDownloadComplete"));
  await call("remove", gids[1]);
  await call("remove", gids[2]);
  await call("purgeDownloadResult");
  assert.deepStrictEqual(await call("tellStopped", 0, 10), []);
  await aria2.close();
}

drive("http")
  .then(() => drive("ws"))
  .then(() => console.log("ok"))
  .catch((err) => {
    console.error(err);
    process.exitCode = 1;
  });
