// The page of pawl daemon. It keeps a copy of the tasks, which events change, and draws at most once per frame what has
// changed. Texts from outside become text nodes, never markup.
"use strict";
(() => {
const $ = id => document.getElementById(id);
const api = "api/v1/";
const make = (name, parent) => parent.appendChild(document.createElement(name));
const every = Object.values;
const active = () => document.activeElement;
const openDialog = () => document.querySelector("dialog[open]");

// ---- texts ----

// clean makes characters visible that could change the order or look of other text. Some scripts need joiners.
const clean = s => String(s ?? "").replace(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\ufffd").slice(0, 4000);
const cleanLines = s => String(s ?? "").split("\n").map(clean).join("\n");

function size(n) {
	if (n < 1024) return n + " B";
	let unit;
	for (unit of ["KiB", "MiB", "GiB", "TiB", "PiB"]) {
		n /= 1024;
		if (n < 999.95) break;
	}
	return n.toFixed(1) + " " + unit;
}

// held is how much of a size is here; the unit is written once if it is the same.
function heldOf(held, total) {
	if (total < 0) return size(held);
	const [a, b] = [size(held), size(total)], unit = b.split(" ")[1];
	return (a.endsWith(" " + unit) ? a.split(" ")[0] : a) + " of " + b;
}

function span(s) {
	s = Math.round(s);
	const two = n => String(n).padStart(2, "0");
	if (s < 60) return s + "s";
	if (s < 3600) return Math.floor(s / 60) + "m" + two(s % 60) + "s";
	if (s < 360000) return Math.floor(s / 3600) + "h" + two(Math.floor(s % 3600 / 60)) + "m";
	return Math.floor(s / 86400) + "d";
}

// percent is rounded down, so that 100 % means complete.
const percent = f => f >= 1 ? "100.0%" : (Math.floor(f * 1000) / 10).toFixed(1) + "%";
const count = (n, one, many = one + "s") => n + " " + (n === 1 ? one : many);

function when(text, withSeconds) {
	const d = new Date(text);
	if (isNaN(d)) return "";
	const time = {hour: "2-digit", minute: "2-digit", ...(withSeconds && {second: "2-digit"})};
	return d.toDateString() === new Date().toDateString() ? d.toLocaleTimeString([], time) :
		withSeconds ? d.toLocaleString([], {dateStyle: "medium", timeStyle: "short"}) :
		d.toLocaleDateString([], {day: "numeric", month: "short"});
}

// parseRate reads bytes per second as pawl's options do.
function parseRate(text) {
	const m = /^(\d+(?:\.\d+)?|\.\d+)([KMGT]?)(?:I?B)?$/.exec(text.trim().toUpperCase().replace(/\/S$/, ""));
	if (/^\s*(off|none)?\s*$/i.test(text)) return 0;
	if (!m) throw new Error(`"${text}" is not a rate such as 500K, 10M or 1G`);
	return Math.floor(m[1] * 1024 ** (" KMGT".indexOf(m[2] || " ")));
}

function rateInput(n) {
	for (const [unit, f] of [["G", 2 ** 30], ["M", 2 ** 20], ["K", 1024]]) {
		if (n >= f && Number.isInteger(n / f * 10)) return n / f + unit;
	}
	return n > 0 ? String(n) : "";
}

const base = path => path.split(status.root?.includes("\\") ? /[\\/]/ : "/").pop(); // Windows has two separators

function nameOf(t) {
	if (t.path) return base(t.path);
	if (t.name) return base(t.name);
	try {
		const u = new URL(t.url || t.urls[0]), last = u.pathname.split("/").filter(Boolean).pop();
		if (!last) return u.host;
		try { return decodeURIComponent(last); } catch { return last; }
	} catch {
		return t.url || (t.list ? "a list" : t.id);
	}
}

function hostOf(t) {
	try { return new URL(t.url || t.urls[0]).host; } catch { return ""; }
}

function dirOf(t) {
	const dir = t.dir || "", root = status.root || "";
	if (dir === root) return "";
	return (root && dir.startsWith(root) ? dir.slice(root.length).replace(/^[\\/]/, "") : dir).replace(/[^\\/]$/, "$&/");
}

const proofs = {
	"signature": ["signature verified", "the digest of a list whose signature was verified"],
	"digest:you": ["your digest", "the digest that you gave"],
	"digest:list": ["digest of the list", "the digest of a list, or of a checksum file"],
	"digest:server": ["digest of the server", "the digest that the server names; it proves the transport, not the server"],
	"checksums": ["no digest known", "no digest is known; pawl's own checksums are of the bytes that were received"],
	"none": ["not proved", "nothing: no digest is known"],
};

function filesText(f) {
	const all = [count(f.listed, "file") + (f.read ? "" : " so far"), f.here + " here"];
	if (f.failed) all.push(f.failed + " failed");
	if (f.problem) all.push(count(f.problem, "line") + " of the list not understood");
	return all.join(", ");
}

// ---- the copy of the tasks ----

let status = {};           // of GET /status
const all = new Map();     // ID -> entry: {t: task, list, row, detail, open, stale, moving}
const dirty = new Set();   // entries whose rows must be drawn
const step = 500;          // rows that a section shows at first, and more at each request
const sections = {};
for (const name of ["active", "failed", "queue", "done"]) {
	const el = $("s-" + name);
	sections[name] = {name, el, list: el.querySelector("ul,ol"), ids: [], max: step, dirty: true, current: null};
}
const listOf = t => ({active: "active", waiting: "queue", paused: "queue", error: "failed"})[t.state] || "done";

function drop(e) {
	const s = sections[e.list], i = s.ids.indexOf(e.t.id);
	if (i >= 0) s.ids.splice(i, 1);
	s.dirty = true;
}

function insert(e, name) {
	const ids = sections[e.list = name].ids, p = e.t.position;
	if (name === "queue" && p < ids.length) {
		ids.splice(p, 0, e.t.id);
		if (!e.moving) reorder();
	} else if (name === "queue" || name === "active") ids.push(e.t.id);
	else ids.unshift(e.t.id);
	sections[name].dirty = true;
}

// isOlder reports whether the answer to a request has come after an event that says more.
function isOlder(t, than) {
	const step = x => x.ended ? 2 : x.state === "active" ? 1 : 0, d = Date.parse(t.updated) - Date.parse(than.updated);
	return d < 0 || d === 0 && step(t) < step(than);
}

// apply takes a task from the daemon. While this page moves it, the position is the one that it has asked for.
function apply(t) {
	let e = all.get(t.id);
	if (!e) all.set(t.id, e = {t});
	if (isOlder(t, e.t)) return;
	const list = listOf(t), p = e.moving ? undefined : t.position;
	e.stale = true;
	e.t = t;
	if (e.list !== list || list === "queue" && p >= 0 && sections.queue.ids[p] !== t.id) {
		if (e.list) drop(e);
		insert(e, list);
	}
	dirty.add(e);
	draw();
}

function forget(id) {
	const e = all.get(id);
	if (!e) return;
	drop(e);
	all.delete(id);
	dirty.delete(e);
	draw();
}

// takeAll replaces the copy. The newest ended task is the first of them.
function takeAll(tasks) {
	const old = new Map(all);
	all.clear();
	for (const s of every(sections)) s.ids = [], s.dirty = true;
	for (const t of tasks) {
		const e = old.get(t.id) || {};
		e.t = t, e.stale = true, e.list = listOf(t);
		all.set(t.id, e);
		sections[e.list].ids.push(t.id);
		dirty.add(e);
	}
	draw();
}

// ---- drawing ----

let drawing = false, filter = "";

function draw() {
	if (drawing) return;
	drawing = true;
	requestAnimationFrame(() => { drawing = false; render(); });
}

function put(el, text) {
	if (el.shown !== text) el.textContent = el.shown = text;
}

function attr(el, name, value) {
	if (value === null) el.removeAttribute(name);
	else if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value);
}

function render() {
	const focused = active(), li = focused?.closest?.(".task");
	const near = li && (li.nextElementSibling || li.previousElementSibling);
	for (const s of every(sections)) if (s.dirty) arrange(s);
	for (const e of dirty) {
		if (!e.row?.el.isConnected) continue;
		drawRow(e);
		if (e.open) drawDetail(e);
	}
	dirty.clear();
	const n = name => sections[name].ids.length;
	for (const name in sections) put($("n-" + name), String(n(name)));
	$("n-failed").parentNode.classList.toggle("some", n("failed") > 0);
	$("empty").hidden = all.size > 0 || !status.v;
	$("nomatch").hidden = !filter || !all.size || every(sections).some(s => !s.el.hidden);
	if (!n("active")) status.rate = 0;
	const rate = size(status.rate || 0) + "/s";
	put($("rate"), rate);
	const title = n("active") ? `${rate}, ${n("active")} running – pawl` : "pawl";
	if (document.title !== title) document.title = title;
	if (!li) return;
	// A row that was moved has lost the focus. The focus follows it, unless the user has removed it.
	if (!li.isConnected || li.entry.removing) refocus(near, li);
	else if (active() !== focused) focused.focus({preventScroll: true});
}

// refocus takes the focus, also the one that a dialog will give back, away from a row that has gone.
function refocus(near, gone) {
	const to = near?.isConnected ? near.entry.row.name : $("main");
	if (opener && gone.contains(opener)) opener = to;
	if (!openDialog()) to.focus({preventScroll: true});
}

const matches = t => !filter || [nameOf(t), t.path, ...(t.urls || [t.url])].some(s => s?.toLowerCase().includes(filter));

// arrange puts the rows of a section in order, and moves only those in the wrong place.
function arrange(s) {
	s.dirty = false;
	let ids = s.ids;
	if (filter) ids = ids.filter(id => matches(all.get(id).t));
	const rest = ids.length - s.max;
	if (rest > 0) ids = ids.slice(0, s.max);
	const wanted = new Set(ids);
	for (const li of [...s.list.children]) if (!wanted.has(li.entry.t.id) || all.get(li.entry.t.id) !== li.entry) {
		li.remove();
	}
	let at = s.list.firstElementChild;
	for (const id of ids) {
		const e = all.get(id);
		if (!e.row) makeRow(e);
		if (at && at.nextElementSibling === e.row.el) { // one row was moved down: it comes later
			const later = at;
			at = e.row.el;
			later.remove();
		}
		if (e.row.el === at) {
			at = at.nextElementSibling;
		} else {
			if (e.row.el.parentNode !== s.list) dirty.add(e);
			s.list.insertBefore(e.row.el, at);
		}
	}
	if (s.name === "queue") {
		const place = new Map(s.ids.map((id, i) => [id, i + 1]));
		for (const id of ids) put(all.get(id).row.pos, String(place.get(id)));
	}
	s.el.hidden = !ids.length;
	let more = s.el.querySelector(".more");
	if (rest > 0 && !more) {
		more = make("button", s.el);
		more.className = "more";
		more.onclick = () => { s.max += step; s.dirty = true; draw(); };
	}
	if (more) more.hidden = rest <= 0, put(more, `Show ${Math.min(rest, step)} more of ${rest}`);
	if (!wanted.has(s.current)) setCurrent(s, ids[0]);
}

// setCurrent makes one row of a section the one that the Tab key reaches.
function setCurrent(s, id) {
	for (const [i, tab] of [[s.current, -1], [id, 0]]) {
		const row = all.get(i)?.row;
		if (row) row.name.tabIndex = row.toggle.tabIndex = row.remove.tabIndex = tab;
	}
	s.current = id;
}

function makeRow(e) {
	const el = $("t-task").content.firstElementChild.cloneNode(true), q = s => el.querySelector(s);
	el.entry = e;
	e.row = {el, name: q(".name"), file: q(".name bdi"), bar: q(".bar"), fill: q(".bar i"), state: q(".state"), place: q(".sub bdi"), pct: q(".pct"),
		held: q(".held"), speed: q(".speed"), eta: q(".eta"), toggle: q(".toggle"), use: q(".toggle use"), remove: q(".remove"), pos: q(".pos")};
	e.row.name.tabIndex = e.row.toggle.tabIndex = e.row.remove.tabIndex = -1;
	dirty.add(e);
}

// fractionOf is how much is here, from 0 to 1; undefined if nobody knows.
function fractionOf(t) {
	if (t.state === "complete") return 1;
	if (t.list) return t.files?.read && t.files.listed > 0 ? t.files.here / t.files.listed : undefined;
	return t.size > 0 ? Math.min(1, t.held / t.size) : undefined;
}

// stateText returns what is said below the name, and its tone.
function stateText(t) {
	const all = [];
	switch (t.state) {
	case "active":
		if (t.reason) all.push(clean(t.reason));
		if (t.list && t.files) all.push(filesText(t.files));
		if (t.conns > 0 || !t.list) all.push(t.conns > 0 ? count(t.conns, "connection") : "no connection");
		if (t.limit_rate > 0) all.push("limit " + size(t.limit_rate) + "/s");
		return [all.join(", "), t.reason ? "warn" : ""];
	case "waiting":
		return t.reason ? [clean(t.reason), "warn"] : ["", ""];
	case "paused":
		return ["paused", ""];
	case "error":
		return [clean(t.reason || "failed"), "bad"];
	case "complete":
		if (t.list && t.files) return [filesText(t.files), t.files.failed || t.files.problem ? "warn" : "good"];
		return [proofs[t.proof]?.[0] || clean(t.proof || "complete"), /^(digest:(you|list)|signature)$/.test(t.proof) ? "good" : ""];
	}
	return ["removed", ""];
}

const toggles = {active: ["Pause", "pause"], waiting: ["Pause", "pause"], paused: ["Resume", "resume"], error: ["Try again", "retry"]};

function drawRow(e) {
	const {t, row} = e, name = clean(nameOf(t)), f = fractionOf(t), running = t.state === "active";
	const [text, tone] = stateText(t);
	const barred = running || t.held > 0 && t.state !== "complete" && t.state !== "removed";
	const look = `task is-${t.state} ${tone} ${barred || tone === "warn" || tone === "bad" ? "" : "flat"}`;
	if (row.look !== look) row.el.className = row.look = look;
	put(row.file, name);
	put(row.state, text);
	put(row.place, clean([hostOf(t), dirOf(t)].filter(Boolean).join(" · ")));
	row.bar.hidden = !barred;
	if (barred) {
		const done = Math.floor((f || 0) * 1000) / 1000;
		if (row.done !== done) row.fill.style.transform = `scaleX(${row.done = done})`;
		attr(row.bar, "aria-valuenow", f === undefined ? null : Math.floor(f * 100));
		attr(row.bar, "aria-label", name);
	}
	put(row.pct, f === undefined || t.state === "complete" || !running && !t.held ? "" : percent(f));
	put(row.held, t.list && !t.held || t.state === "removed" && !t.held ? "" : t.state === "complete" ? size(Math.max(t.size, t.held)) :
		t.held > 0 || running ? heldOf(t.held, t.size) : t.size >= 0 ? size(t.size) : "");
	put(row.speed, running ? size(t.rate || 0) + "/s" : "");
	put(row.eta, running ? t.rate > 0 && t.size > t.held ? span((t.size - t.held) / t.rate) : "" : t.ended ? when(t.ended) : "");
	const toggle = toggles[t.state];
	row.toggle.hidden = !toggle;
	if (toggle) {
		attr(row.use, "href", "#i-" + toggle[1]);
		attr(row.toggle, "aria-label", `${toggle[0]}: ${name}`);
		attr(row.toggle, "title", toggle[0]);
	}
	attr(row.remove, "aria-label", `Remove: ${name}`);
	attr(row.remove, "title", "Remove");
}

// ---- details ----

function toggleDetail(e) {
	e.open = !e.open;
	e.row.name.setAttribute("aria-expanded", e.open);
	if (!e.open) {
		e.view.el.remove();
		e.view = null;
		return;
	}
	const el = $("t-detail").content.firstElementChild.cloneNode(true), q = s => el.querySelector(s);
	e.view = {el, map: q(".map"), path: q("path"), caption: q("figcaption"), figure: q("figure"), facts: q("dl"), table: q("table"), rows: q("tbody")};
	el.id = "d-" + e.t.id;
	e.row.name.setAttribute("aria-controls", el.id);
	e.row.el.append(el);
	drawDetail(e);
	loadDetail(e);
}

// facts returns the rows of the details: a title, a text or several, and a tone.
function facts(e) {
	const t = e.t, d = e.detail || {}, rows = [];
	if (t.state === "waiting") {
		const ids = sections.queue.ids, i = ids.slice(0, ids.indexOf(t.id)).filter(id => all.get(id).t.state === "waiting").length;
		rows.push(["Waits", t.reason || (i > 0 ? `for its turn: ${count(i, "download")} before it` : "for its turn: it is the next") + `, ${status.jobs} at a time`, t.reason && "warn"]);
	}
	if (t.state === "paused") rows.push(["Waits", "until you resume it"]);
	if (d.waiting?.why) rows.push(["Waits", d.waiting.why + (Date.parse(d.waiting.until) > 0 ? ", until " + when(d.waiting.until, true) : ""), "warn"]);
	if (t.state === "error") rows.push(["Failed", (t.reason || "for an unknown reason") + (t.exit ? ` (exit code ${t.exit})` : ""), "bad"]);
	if (t.proof) rows.push(["Proved by", proofs[t.proof]?.[1] || t.proof, stateText(t)[1] === "good" && "good"]);
	if (t.lost?.length) rows.push(["Missing", t.lost.join(", ") + ": kept in memory only, and lost when pawl was restarted. Give it again with “Change”", "warn"]);
	if (t.list && t.files) rows.push(["List", filesText(t.files) + (t.files.read ? "" : "; it is still being read"), (t.files.failed || t.files.problem) && "warn"]);
	const failed = t.files?.failures || [], problems = t.files?.problems || [], more = (n, shown) => n > shown.length ? [`and ${n - shown.length} more`] : [];
	if (failed.length) rows.push(["Failed files", [...failed.map(f => `${f.path || f.url}: ${f.reason}`), ...more(t.files.failed, failed)], "bad"]);
	if (problems.length) rows.push(["Problems", [...problems, ...more(t.files.problem, problems)], "warn"]);
	rows.push(t.path ? ["File", t.path] : ["Directory", t.dir || status.root || ""]);
	const urls = t.urls?.length ? t.urls : [t.url].filter(Boolean);
	if (urls.length) rows.push([urls.length > 1 ? "Addresses" : "Address", urls]);
	if (t.limit_rate > 0) rows.push(["Limit", size(t.limit_rate) + "/s"]);
	if (t.connections > 0) rows.push(["Limit", count(t.connections, "connection")]);
	rows.push(["Added", when(t.added || t.created, true)]);
	if (t.ended) rows.push(["Ended", when(t.ended, true)]);
	rows.push(["ID", t.id]);
	return rows;
}

function drawDetail(e) {
	const {t, view: v} = e, d = e.detail || {}, ranges = t.state === "complete" ? [[0, t.size]] : d.ranges || [];
	attr(v.el, "aria-label", "Details: " + clean(nameOf(t)));
	const f = fractionOf(t);
	v.figure.hidden = !(t.size > 0) || !ranges.length;
	if (!v.figure.hidden) {
		drawMap(v.path, ranges, t.size);
		put(v.caption, heldOf(t.held, t.size) + (ranges.length > 1 ? ` in ${ranges.length} ranges` : ""));
		attr(v.map, "aria-label", "Pieces that are here: " + (f === undefined ? "" : percent(f)));
	}
	const list = facts(e), key = JSON.stringify(list);
	if (v.key !== key) {
		v.key = key;
		v.facts.replaceChildren(...list.flatMap(([title, texts, tone]) => {
			const dt = document.createElement("dt"), dd = document.createElement("dd");
			dt.textContent = title;
			if (tone) dd.className = tone;
			for (const text of [texts].flat()) make("bdi", dd).textContent = cleanLines(text);
			return [dt, dd];
		}));
	}
	const sources = t.state === "active" ? d.sources || [] : [];
	v.table.hidden = !sources.length;
	while (v.rows.rows.length > sources.length) v.rows.deleteRow(-1);
	sources.forEach((s, i) => {
		let r = v.rows.rows[i];
		if (!r) {
			r = v.rows.insertRow();
			const first = r.insertCell();
			r.url = make("bdi", first);
			r.aside = make("span", first);
			r.aside.className = "aside";
			[r.conns, r.got] = [r.insertCell(), r.insertCell()];
			r.conns.className = r.got.className = "n fig";
		}
		put(r.url, clean(s.url));
		put(r.aside, s.error ? "put aside: " + clean(s.error) : "");
		put(r.conns, String(s.conns || 0));
		put(r.got, size(s.received || 0));
	});
	v.el.querySelector("[data-do=change]").hidden = e.list === "done";
	v.el.querySelector(".moves").hidden = e.list !== "queue";
}

// drawMap draws the held ranges, each at least 1/1000 of the file wide.
function drawMap(path, ranges, total) {
	const parts = [];
	let end = -1;
	for (const [a, b] of ranges) {
		const x = Math.floor(a / total * 1e4) / 10, w = Math.max(1, Math.round((b - a) / total * 1e4) / 10);
		if (x + w <= end) continue;
		parts.push(`M${x} 0h${w}v10h-${w}z`);
		end = x + w;
	}
	attr(path, "d", parts.join("") || "M0 0");
}

async function loadDetail(e) {
	if (e.loading) return;
	e.loading = true;
	e.stale = false;
	try {
		const t = await call("GET", "tasks/" + e.t.id);
		e.detail = t.detail;
		if (t.state === e.t.state) e.t = {...t, position: e.t.position};
		dirty.add(e);
		draw();
	} catch { // events tell if it is gone
	} finally {
		e.loading = false;
	}
}

// Open details of what runs are asked for each second, at most 8 at a time.
let turn = 0;
setInterval(() => {
	if (document.hidden || !connected) return;
	const open = [...all.values()].filter(e => e.open && e.view && (e.t.state === "active" || e.stale));
	for (let i = 0; i < Math.min(8, open.length); i++) loadDetail(open[turn++ % open.length]);
}, 1000);

// ---- the daemon ----

async function call(method, path, body, wait = 60000) {
	let r;
	try {
		r = await fetch(api + path, {method, signal: AbortSignal.timeout(wait), headers: {"X-Pawl": "1", "Content-Type": "application/json"}, body: JSON.stringify(body)});
	} catch {
		throw Object.assign(new Error("pawl does not answer"), {offline: true});
	}
	const answer = await r.json().catch(() => undefined); // some have no body
	if (r.status === 401) showLogin();
	if (!r.ok) throw Object.assign(new Error(cleanLines(answer?.error?.message || `HTTP status ${r.status}`)), {status: r.status});
	return answer;
}

let source, connected = false, tries = 0, timer, retryAt, ticker;

function showLogin() {
	source?.close();
	connected = false;
	openDialog()?.close();
	$("login").hidden = false;
	$("app").hidden = $("lost").hidden = true;
	document.body.classList.add("out");
	setLink("off", "Not logged in");
}

function setLink(look, text) {
	$("link").className = look;
	put($("link").lastElementChild, text);
	document.body.classList.toggle("stale", look === "off");
}

function connect() {
	clearTimeout(timer);
	source?.close();
	const s = source = new EventSource(api + "events");
	s.onmessage = m => { if (s === source) receive(JSON.parse(m.data)); };
	s.onerror = () => { if (s === source) lose(); };
}

// lose ends the connection and tries again later, after 1, 2, 4, … 15 seconds.
async function lose() {
	source?.close();
	source = null;
	connected = false;
	const wait = Math.min(15, 2 ** tries++);
	retryAt = Date.now() + wait * 1000;
	clearTimeout(timer);
	timer = setTimeout(connect, wait * 1000);
	if (tries > 1 || all.size) showLost();
	try { // an EventSource does not tell the status
		await call("GET", "status", undefined, 5000);
	} catch (x) {
		if (x.status === 401) return clearTimeout(timer);
		if (x.status) put($("lost-why"), "pawl answers: " + x.message + ".");
		showLost();
	}
}

function showLost() {
	if (connected || !$("login").hidden) return;
	setLink("off", "Connection lost");
	$("lost").hidden = false;
	clearInterval(ticker);
	const tick = () => put($("lost-when"), Date.now() < retryAt ? `Next try in ${Math.ceil((retryAt - Date.now()) / 1000)} s.` : "Trying…");
	tick();
	ticker = setInterval(tick, 1000);
}

function setStatus(s) {
	status = s;
	put($("free"), s.free >= 0 ? size(s.free) + " free" : "");
	const limit = $("limit"), jobs = $("jobs");
	if (active() !== limit) limit.value = rateInput(s.limit_rate);
	if (active() !== jobs) jobs.value = s.jobs;
	$("held").hidden = !s.held_up;
	put($("held").querySelector("bdi"), clean(s.held_up));
	draw();
}

function receive(m) {
	switch (m.event) {
	case "hello":
		connected = true;
		tries = 0;
		clearInterval(ticker);
		$("lost").hidden = $("login").hidden = true;
		$("app").hidden = false;
		document.body.classList.remove("out");
		put($("lost-why"), "The figures below are old.");
		setLink("on", "Connected");
		setStatus(m.status);
		return takeAll(m.tasks || []);
	case "progress":
		status.rate = m.rate;
		for (const p of m.tasks || []) {
			const e = all.get(p.id);
			if (!e) continue;
			Object.assign(e.t, p);
			dirty.add(e);
		}
		return draw();
	case "forgotten":
		return forget(m.task.id);
	case "complete":
	case "error":
		tell(m.event, m.task);
	}
	if (m.task) apply(m.task);
}

// reorder asks for all again if several positions have changed within a second: each event has the position at the
// time when it was sent, so together they can be wrong.
let changes = 0;

function reorder() {
	if (!changes++) setTimeout(() => {
		if (changes > 1 && connected) connect();
		changes = 0;
	}, 1000);
}

setInterval(async () => { // a connection can end without a sign of it; the free space changes
	if (document.hidden || !connected) return;
	try {
		setStatus(await call("GET", "status", undefined, 10000));
	} catch (x) {
		if (x.offline) lose();
	}
}, 15000);

// ---- what is said ----

let noteTimer;

function note(text, wrong) {
	clearTimeout(noteTimer);
	put($("said"), wrong ? "" : text);
	put($("wrong"), wrong ? text : "");
	$("close-note").hidden = !wrong;
	if (!wrong) noteTimer = setTimeout(() => note("", false), 6000);
}
$("close-note").onclick = () => note("", false);

// say is for screen readers only. tell collects what ended, so that not each file interrupts.
function say(text) { $("news").textContent = text; }

let ends = {complete: 0, error: 0}, last, endTimer;

function tell(kind, t) {
	ends[kind]++;
	last = clean(nameOf(t));
	endTimer ||= setTimeout(() => {
		const {complete, error} = ends;
		say(complete + error > 1 ? `${complete} complete, ${error} failed` : last + (error ? " failed" : " complete"));
		ends = {complete: 0, error: 0};
		endTimer = 0;
	}, 3000);
}

// attempt runs an action, and shows why it has failed.
async function attempt(action, said) {
	try {
		const t = await action();
		if (t?.id) apply(t);
		if (said) say(said);
	} catch (x) {
		note(x.message, true);
	}
}

// ---- actions on one download ----

function toggle(e) {
	const name = clean(nameOf(e.t)), pausing = e.t.state === "active" || e.t.state === "waiting";
	if (toggles[e.t.state]) attempt(() => call("PATCH", "tasks/" + e.t.id, {state: pausing ? "paused" : "waiting"}), name + (pausing ? " paused" : " waits again"));
}

let moves = Promise.resolve(); // one after the other, in the order of the keys

function move(e, to) {
	const ids = sections.queue.ids;
	to = Math.max(0, Math.min(to, ids.length - 1));
	if (e.list !== "queue" || ids.indexOf(e.t.id) === to) return;
	e.moving = (e.moving || 0) + 1;
	drop(e);
	e.t.position = to;
	insert(e, "queue");
	dirty.add(e);
	draw();
	say(`${clean(nameOf(e.t))}: position ${to + 1} of ${ids.length}`);
	moves = moves.then(() => attempt(async () => {
		try {
			return await call("PATCH", "tasks/" + e.t.id, {position: to});
		} catch (x) {
			connect(); // to see the true order
			throw x;
		} finally {
			e.moving--;
		}
	}));
}

function doMove(e, how) {
	const i = sections.queue.ids.indexOf(e.t.id);
	if (i >= 0) move(e, {first: 0, up: i - 1, down: i + 1, last: Infinity}[how]);
}

// ---- dialogs ----

let opener;

// ask shows a dialog. run is called when it is confirmed, and throws what is wrong.
function ask(d, run) {
	const form = d.querySelector("form"), error = d.querySelector(".error");
	let busy = false;
	opener = active();
	error.textContent = "";
	for (const i of form.querySelectorAll("[aria-invalid]")) i.removeAttribute("aria-invalid");
	form.onsubmit = async ev => {
		ev.preventDefault();
		if (busy) return;
		busy = true;
		error.textContent = "";
		try {
			await run(form.elements, ev.submitter);
			d.close();
		} catch (x) {
			error.textContent = x.message;
			if (x.field) {
				const hidden = x.field.closest("details");
				if (hidden) hidden.open = true;
				x.field.setAttribute("aria-invalid", "true");
				x.field.focus();
			}
		} finally {
			busy = false;
		}
	};
	d.querySelector(".cancel").onclick = () => d.close();
	d.onclose = () => { if (opener?.isConnected) opener.focus({preventScroll: true}); };
	d.showModal();
}

const lines = text => text.split(/\r?\n/).map(s => s.trim()).filter(s => s && !s.startsWith("#"));

function invalid(field, message) { return Object.assign(new Error(message), {field}); }

// fields reads what the dialogs Add and Change have in common; undefined is left out of the request.
function fields(f) {
	const s = {};
	try { s.limit_rate = parseRate(f.limit.value); } catch (x) { throw invalid(f.limit, x.message); }
	s.connections = Number(f.connections.value) || 0;
	const header = lines(f.header.value), bad = header.find(h => !/^[^\s:]+:/.test(h));
	if (bad) throw invalid(f.header, `"${bad}" is not a header field such as "Accept: text/plain"`);
	if (header.length) s.header = header;
	if (f.login.value || f.password.value) s.user = f.login.value + ":" + f.password.value;
	return s;
}

function openAdd(text = "") {
	if (openDialog()) return;
	const d = $("d-add"), f = d.querySelector("form").elements;
	d.querySelector("form").reset();
	d.querySelector("details").open = false;
	f.urls.value = text;
	showAs();
	ask(d, async f => {
		const as = f.as.value, urls = lines(f.urls.value);
		const s = {...fields(f), paused: f.paused.checked, overwrite: f.overwrite.checked};
		for (const key of ["dir", "name", "checksum"]) if (f[key].value.trim()) s[key] = f[key].value.trim();
		for (const key of ["limit_rate", "connections", "paused", "overwrite"]) if (!s[key]) delete s[key];
		if (as === "text" ? !f.urls.value.trim() : !urls.length) throw invalid(f.urls, "there is no address");
		if (as !== "mirrors" && (as !== "files" || urls.length > 1) && (s.name || s.checksum)) throw invalid(s.name ? f.name : f.checksum, "a name and a checksum are of one file");
		let specs = as === "files" ? urls.map(u => ({...s, urls: [u]})) : as === "mirrors" ? [{...s, urls}] :
			as === "lists" ? urls.map(u => ({...s, list: true, urls: [u]})) : [{...s, list: true, text: f.urls.value}];
		if (f.first.checked) specs = specs.map((s, i) => ({...s, position: i}));
		const answer = await call("POST", "tasks", specs), tasks = [answer?.tasks || answer].flat().filter(t => t?.id);
		tasks.forEach(apply);
		note(`Added ${count(tasks.length, "download")}`);
	});
}

function showAs() {
	const f = $("d-add").querySelector("form").elements, text = f.as.value === "text", n = lines(f.urls.value).length;
	put($("add-label"), text ? "The text of the list: addresses, Metalink, checksums, or an input file of aria2" : "Addresses, one on each line");
	put($("add-count"), text || !n ? "" : count(n, "address", "addresses"));
}
$("d-add").addEventListener("input", showAs);

function openChange(e) {
	if (e.list === "done") return;
	const t = e.t, d = $("d-change"), form = d.querySelector("form"), f = form.elements, urls = t.urls?.length ? t.urls : [t.url].filter(Boolean);
	form.reset();
	put(d.querySelector(".of bdi"), clean(nameOf(t)));
	const lost = d.querySelector(".lost");
	lost.hidden = !t.lost?.length;
	put(lost, "Missing since pawl was restarted: " + clean(t.lost?.join(", ")));
	d.querySelector(".urls").hidden = !urls.length;
	f.urls.disabled = !urls.length;
	f.urls.value = urls.join("\n");
	f.limit.value = rateInput(t.limit_rate || 0);
	f.connections.value = t.connections || "";
	ask(d, async f => {
		const s = fields(f), now = lines(f.urls.value);
		if (urls.length && !now.length) throw invalid(f.urls, "there is no address");
		if (now.join("\n") !== urls.join("\n")) s.urls = now;
		if (s.limit_rate === (t.limit_rate || 0)) delete s.limit_rate;
		if (s.connections === (t.connections || 0)) delete s.connections;
		if (!Object.keys(s).length) return;
		apply(await call("PATCH", "tasks/" + t.id, s));
		note("Changed");
	});
}

// sure asks before something is removed. file and its size are what can be deleted.
function sure(run, title, name, what, keep, remove, file, bytes) {
	const d = $("d-sure"), q = s => d.querySelector(s);
	put($("sure-h"), title);
	put(q(".of bdi"), name);
	put(q(".what"), what);
	put(q(".end .main"), keep);
	put(q(".danger"), remove);
	q("ul").hidden = q(".danger").hidden = !file;
	put(q("li bdi"), file);
	put(q("li .fig"), file && size(bytes));
	ask(d, (f, button) => run(button?.value === "files"));
}

function openRemove(e) {
	const t = e.t, done = t.state === "complete", name = clean(nameOf(t)), files = !t.list && t.held > 0;
	sure(async files => {
		e.removing = true;
		try {
			await call("DELETE", "tasks/" + t.id + (files ? "?files=true" : ""));
		} catch (x) {
			e.removing = x.status === 404;
			if (!e.removing) throw x;
			forget(t.id);
		}
		say(name + " removed");
	}, "Remove this download?", name, t.list ? "Its files stay." : !files ? "Nothing of it is here, so no file is deleted." :
		done ? "It leaves this list. If you want it, this file is deleted, too, unless it has changed since:" :
		"What is here can stay: it continues if the address is added again. If you want it, this is deleted:",
	files ? "Remove, keep the file" : "Remove", "Remove, delete the file", files ? clean(t.path || nameOf(t)) + (done ? "" : ".part") : "", t.held);
}

// ---- clicks, keys and drags ----

const entryOf = node => node.closest?.(".task")?.entry;

$("main").addEventListener("click", ev => {
	const e = entryOf(ev.target), b = ev.target.closest("button");
	if (!e || !b) return;
	if (b === e.row.name) toggleDetail(e);
	else if (b === e.row.toggle) toggle(e);
	else if (b === e.row.remove || b.dataset.do === "remove") openRemove(e);
	else if (b.dataset.do === "change") openChange(e);
	else if (b.dataset.do) doMove(e, b.dataset.do);
});

$("main").addEventListener("focusin", ev => {
	const e = entryOf(ev.target);
	if (e?.list && sections[e.list].current !== e.t.id) setCurrent(sections[e.list], e.t.id);
});

$("main").addEventListener("keydown", ev => {
	const e = entryOf(ev.target);
	if (!e || !ev.target.closest(".row") || ev.ctrlKey || ev.metaKey) return;
	const way = {ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last"}[ev.key];
	if (way && ev.altKey) doMove(e, way);
	else if (way) go(e, way);
	else if (ev.altKey || ev.shiftKey) return;
	else if (ev.key === "Delete") openRemove(e);
	else if (ev.key === "p") toggle(e);
	else if (ev.key === "c") openChange(e);
	else return;
	ev.preventDefault();
});

// go moves the focus to another row, of the next section after the last one.
function go(e, way) {
	if (drawing) render(); // the last key may have moved rows
	const lists = every(sections).filter(s => !s.el.hidden).map(s => s.list), li = e.row.el, i = lists.indexOf(li.parentNode);
	const to = {up: li.previousElementSibling || lists[i - 1]?.lastElementChild, down: li.nextElementSibling || lists[i + 1]?.firstElementChild,
		first: lists[0].firstElementChild, last: lists.at(-1).lastElementChild}[way];
	to?.entry.row.name.focus();
}

let drag; // {e, y, on, over, after}

function mark(li, after) {
	drag.over?.classList.remove("before", "after");
	drag.over = li, drag.after = after;
	li?.classList.add(after ? "after" : "before");
}

function endDrag() {
	if (!drag) return;
	mark(null);
	drag.e.row.el.classList.remove("dragged");
	document.body.classList.remove("dragging");
	drag = null;
}

sections.queue.list.addEventListener("pointerdown", ev => {
	const grip = ev.target.closest(".grip"), e = entryOf(ev.target);
	if (!grip || ev.button !== 0) return;
	ev.preventDefault();
	grip.setPointerCapture(ev.pointerId);
	drag = {e, y: ev.clientY, at: ev.clientY};
});

sections.queue.list.addEventListener("pointermove", ev => {
	if (!drag) return;
	drag.at = ev.clientY;
	if (!drag.on && Math.abs(ev.clientY - drag.y) < 5) return;
	if (!drag.on) {
		drag.on = true;
		drag.e.row.el.classList.add("dragged");
		document.body.classList.add("dragging");
		requestAnimationFrame(scrollDrag);
	}
	aim();
});

// aim marks the row beside which the dragged one would fall.
function aim() {
	const box = sections.queue.list.getBoundingClientRect();
	const y = Math.max(box.top + 2, Math.min(drag.at, box.bottom - 2));
	const li = document.elementFromPoint(box.left + box.width / 2, y)?.closest("#s-queue .task");
	if (!li || li === drag.e.row.el) return mark(null);
	const r = li.getBoundingClientRect();
	mark(li, y > r.top + r.height / 2);
}

function scrollDrag() {
	if (!drag) return;
	const by = drag.at < 90 ? -12 : drag.at > innerHeight - 50 ? 12 : 0;
	if (by) {
		scrollBy(0, by);
		aim();
	}
	requestAnimationFrame(scrollDrag);
}

sections.queue.list.addEventListener("pointerup", () => {
	if (drag?.on && drag.over) {
		const ids = sections.queue.ids, own = ids.indexOf(drag.e.t.id);
		const to = ids.indexOf(drag.over.entry.t.id) + (drag.after ? 1 : 0);
		move(drag.e, to > own ? to - 1 : to);
	}
	endDrag();
});
sections.queue.list.addEventListener("pointercancel", endDrag);
document.addEventListener("keydown", ev => { if (ev.key === "Escape") endDrag(); });

$("add").onclick = () => openAdd();
document.onvisibilitychange = () => { if (!document.hidden && !connected) connect(); };
$("again").onclick = () => { tries = 0; connect(); };
$("clear").onclick = () => sure(() => call("DELETE", "history"), "Clear the history?", "", "All finished, failed and removed downloads leave this list. No file is deleted.", "Clear", "", "");
const many = (path, ids) => attempt(() => call("POST", path, ids ? {ids} : {}));
$("pause-all").onclick = () => many("tasks/pause");
$("resume-all").onclick = () => many("tasks/resume");
$("retry-all").onclick = () => many("tasks/resume", [...sections.failed.ids]);
$("tools").onsubmit = ev => ev.preventDefault();
$("find").oninput = ev => {
	filter = ev.target.value.trim().toLowerCase();
	for (const s of every(sections)) s.dirty = true;
	draw();
};

for (const [id, key, read] of [["limit", "limit_rate", parseRate], ["jobs", "jobs", Number]]) {
	$(id).onchange = ev => attempt(async () => {
		try {
			if (!ev.target.checkValidity()) throw new Error("write a number from 1 to 999");
			const s = await call("PATCH", "status", {[key]: read(ev.target.value)});
			ev.target.removeAttribute("aria-invalid");
			if (s) setStatus(s);
		} catch (x) {
			ev.target.setAttribute("aria-invalid", "true");
			throw x;
		}
	}, "set");
	$(id).onblur = () => setStatus(status);
}

// Addresses that are pasted anywhere are added, after a look at them.
document.addEventListener("paste", ev => {
	const text = ev.clipboardData.getData("text/plain");
	if (ev.target.closest?.("input, textarea, dialog") || !/https?:\/\//i.test(text)) return;
	ev.preventDefault();
	openAdd(text);
});

for (const d of document.querySelectorAll(".fields")) d.append($("t-fields").content.cloneNode(true));
connect();
})();
