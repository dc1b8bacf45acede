package page

import (
	"fmt"
	"testing"
	"time"

	"pawl/downloader/queue"
)

// states returns tasks in all states.
func states() []*fakeTask {
	const gib, mib = 1 << 30, 1 << 20
	day := time.Now().Add(-26 * time.Hour)
	root := "/srv/downloads/"
	return []*fakeTask{
		{State: "active", URLs: []string{"https://cdimage.debian.org/images/debian-13.2.0-amd64-DVD-1.iso", "https://mirror.example.net/debian-13.2.0-amd64-DVD-1.iso"}, Dir: root + "images", Path: root + "images/debian-13.2.0-amd64-DVD-1.iso",
			Size: 4 * gib, Held: 1817 * mib * 4096 / 4290, Rate: 71*mib + 300<<10, Conns: 12,
			Detail: &fakeDetail{
				Ranges: [][2]int64{{0, 700 * mib}, {900 * mib, 1200 * mib}, {1600 * mib, 1900 * mib}, {2600 * mib, 2800 * mib}, {3600 * mib, 3835 * mib}},
				Sources: []fakeSource{
					{URL: "https://cdimage.debian.org/images/debian-13.2.0-amd64-DVD-1.iso", Conns: 12, Received: 1734 * mib},
					{URL: "https://mirror.example.net/debian-13.2.0-amd64-DVD-1.iso", Received: mib, Error: "the file has another size: 2.0 GiB"},
				}}},
		{State: "active", URL: "https://huggingface.example/m/model-00001-of-00050.safetensors", Dir: root + "model", Path: root + "model/model-00001-of-00050.safetensors",
			Size: 4900 * mib, Held: 4410 * mib, Rate: 38 * mib, Conns: 8, LimitRate: 40 * mib},
		{State: "active", URL: "https://huggingface.example/m/model-00002-of-00050.safetensors", Dir: root + "model", Path: root + "model/model-00002-of-00050.safetensors",
			Size: 4900 * mib, Held: 12 * mib,
			Detail: &fakeDetail{Ranges: [][2]int64{{0, 12 * mib}}, Sources: []fakeSource{{URL: "https://huggingface.example/m/model-00002-of-00050.safetensors", Received: 12 * mib}},
				Waiting: &fakePause{Why: "HTTP error 429: too many requests", Until: time.Now().Add(42 * time.Second)}}},
		{State: "active", URL: "https://live.example.org/stream.bin", Dir: root, Path: root + "stream.bin", Size: -1, Held: 310 * mib, Rate: 900 << 10, Conns: 1},
		{State: "waiting", URL: "https://ftp.example.org/pub/signed.tar.gz", Size: -1},
		{State: "paused", URL: "https://ftp.example.org/pub/fedora-43-x86_64.iso", Dir: root + "images", Path: root + "images/fedora-43-x86_64.iso", Size: 2300 * mib, Held: 900 * mib},
		{State: "waiting", URL: "https://storage.example.com/b/backup.tar.zst", Size: 120 * gib, Held: 41 * gib, Path: root + "backup.tar.zst", Lost: []string{"User", "Authorization"}},
		{State: "waiting", URL: "https://slow.example.com/dataset.parquet", Size: 8 * gib, Held: 2 * gib, Path: root + "dataset.parquet", Reason: "another pawl downloads this file"},
		{State: "error", URL: "https://signed.example.com/x/expired.bin", Path: root + "expired.bin", Size: 3 * gib, Held: 2900 * mib, Reason: "HTTP error 403: the address has expired", Exit: 8, Ended: time.Now()},
		{State: "error", List: true, URL: "https://mirror.example.net/pool/SHA256SUMS", Dir: root + "pool", Size: -1, Reason: "2 of 40 files failed", Exit: 8, Ended: day,
			Files: &queue.Files{Listed: 40, Here: 31, Failed: 2, Problem: 1, Read: true, Trouble: &queue.Trouble{
				Failures: []queue.FailedFile{{URL: "https://mirror.example.net/pool/a.deb", Path: root + "pool/a.deb", Reason: "HTTP error 404: not found"}},
				Problems: []string{"line 7: a digest of 13 digits"},
			}}},
		{State: "complete", URL: "https://releases.example.com/ubuntu.iso", Dir: root + "images", Path: root + "images/ubuntu.iso", Size: 5 * gib, Held: 5 * gib, Proof: "signature", Ended: time.Now()},
		{State: "complete", URL: "https://www.example.com/readme.txt", Path: root + "readme.txt", Size: 4711, Held: 4711, Proof: "digest:server", Ended: time.Now().Add(-time.Hour)},
		{State: "complete", URL: "https://www.example.com/video.mkv", Path: root + "video.mkv", Size: 1400 * mib, Held: 1400 * mib, Proof: "checksums", Ended: day},
		{State: "removed", URL: "https://www.example.com/unwanted.zip", Path: root + "unwanted.zip", Size: 200 * mib, Held: 3 * mib, Ended: day},
	}
}

// testPictures makes pictures of the page for people, in the directory PAWL_TEST_PICTURES.
func testPictures(t *testing.T, b *browser) {
	many := newFake()
	many.put(states()...)
	for i := range 40 {
		many.put(&fakeTask{State: "waiting", URL: fmt.Sprintf("https://huggingface.example/m/model-%05d-of-00050.safetensors", i+3), Dir: "/srv/downloads/model", Size: -1})
	}
	many.status["rate"], many.status["active"] = int64(111<<20), 4
	p := serve(t, b, many, 1280, 900)
	p.wait("document.querySelectorAll('.task').length > 50")
	p.picture("many.png")
	p.click("document.querySelector('#s-active .task .name')")
	p.wait("document.querySelector('.detail tbody tr')")
	p.eval("scrollTo(0, 0)", nil)
	p.picture("details.png")
	p.click("document.querySelector('#s-failed .task .name')")
	p.click("document.querySelector('#s-queue .task:nth-child(3) .name')")
	p.wait("document.querySelectorAll('.detail').length === 3")
	p.eval("document.getElementById('s-failed').scrollIntoView()", nil)
	p.picture("failed-waiting.png")
	p.click("document.getElementById('add')")
	p.write(dialog("add", "[name=urls]"), "https://example.com/one.iso\nhttps://example.com/two.iso")
	p.click(dialog("add", "summary"))
	p.picture("add.png")
	p.press("Escape")
	p.click("document.querySelector('#s-queue .task:nth-child(2) .remove')")
	p.wait(dialog("sure", "li"))
	p.picture("remove.png")
	p.press("Escape")

	empty := newFake()
	p = serve(t, b, empty, 1280, 900)
	p.wait("!document.getElementById('empty').hidden")
	p.picture("empty.png")

	p = serve(t, b, many, 360, 780)
	p.prefer("prefers-color-scheme", "dark")
	p.wait("document.querySelectorAll('.task').length > 50")
	p.picture("phone-dark.png")
	p.eval("document.getElementById('s-failed').scrollIntoView()", nil)
	p.click("document.querySelector('#s-failed .task .name')")
	p.eval("document.getElementById('s-failed').scrollIntoView()", nil)
	p.picture("phone-dark-failed.png")
	p.click("document.getElementById('add')")
	p.click(dialog("add", "summary"))
	p.picture("phone-dark-add.png")
	p.press("Escape")
	p = serve(t, b, many, 1280, 900)
	p.prefer("prefers-color-scheme", "dark")
	p.wait("document.querySelectorAll('.task').length > 50")
	p.click("document.querySelector('#s-active .task .name')")
	p.wait("document.querySelector('.detail tbody tr')")
	p.eval("scrollTo(0, 0)", nil)
	p.picture("dark.png")
	p = serve(t, b, many, 360, 780)
	p.wait("document.querySelectorAll('.task').length > 50")
	p.click("document.querySelector('#s-active .task .name')")
	p.wait("document.querySelector('.detail tbody tr')")
	p.picture("phone.png")
}
