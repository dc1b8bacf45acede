package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/mirror"
	"pawl/store"
)
