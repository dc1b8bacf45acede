package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// print prints the table of the workload in Markdown that is readable as plain text.
func (r *workloadResult) print(w io.Writer) {
	fmt.Fprintf(w, "\n**%s**: %s, %s%s\n", r.Name, r.Title, r.Amount, r.limitText())
	if r.NotRun != "" {
		fmt.Fprintf(w, "\nnot run: %s\n", r.NotRun)
		return
	}
	network := r.Network
	if network != "" {
		network = ", " + network
	}
	fmt.Fprintf(w, "\nmedians of %d%s:\n\n", r.roundsDone(), network)
	cells := [][]string{{"", "wall s", "from–to", "× best peer", "× limit", "CPU s/GiB", "RSS MiB", "conns", "requests", "refused", "refetched MiB"}}
	for _, row := range r.Rows {
		if len(row.Runs) > 0 {
			cells = append(cells, r.rowCells(row))
		}
	}
	printTable(w, cells)
	for _, row := range r.Rows {
		if row.Failed != "" {
			fmt.Fprintf(w, "\nfailed: %s: %s\n", row.Tool, row.Failed)
		}
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(w, "\nskipped: %s\n", strings.Join(r.LeftOut, ", "))
	}
}

func (r *workloadResult) limitText() string {
	switch {
	case r.Limit == 0:
		return ""
	case r.Limit == r.Limit32:
		return fmt.Sprintf("; limit %.2f s", r.Limit)
	}
	return fmt.Sprintf("; limit %.2f s with 16 connections, %.2f s with 32", r.Limit, r.Limit32)
}

// rowCells returns the cells of a row that has runs. A cell is empty if its figure is
// unknown or its median is zero.
func (r *workloadResult) rowCells(row *row) []string {
	wall, c := row.wall(), row.contender
	walls := make([]float64, len(row.Runs))
	for i, run := range row.Runs {
		walls[i] = run.Wall
	}
	cpu := row.median(func(x result) float64 { return x.CPU })
	return []string{
		row.Tool,
		fmt.Sprintf("%.2f", wall),
		fmt.Sprintf("%.2f–%.2f", slices.Min(walls), slices.Max(walls)),
		ratio(wall, r.bestPeerTime(c)),
		ratio(wall, r.limitFor(c)),
		fmt.Sprintf("%.2f", cpu/float64(r.Bytes)*gib),
		count(row.median(func(x result) float64 { return float64(x.RSS) / mib })),
		count(row.median(func(x result) float64 { return float64(x.Conns) })),
		count(row.median(func(x result) float64 { return float64(x.Requests) })),
		count(row.median(func(x result) float64 { return float64(x.Refused) })),
		r.refetchedCell(row),
	}
}

// refetchedCell returns the median of the bytes fetched twice in MiB. It is empty unless
// the workload kills the program.
func (r *workloadResult) refetchedCell(row *row) string {
	if r.work.Kind != killedHalfway {
		return ""
	}
	return fmt.Sprintf("%.1f", row.median(func(x result) float64 { return float64(x.Refetched) / mib }))
}

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

func count(x float64) string {
	if x == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", x)
}

// printTable prints rows as a Markdown table. The first row contains the titles, and all
// rows must have as many cells. The first column is aligned to the left, the others to
// the right. A column whose cells are all empty is left out, except the first.
func printTable(w io.Writer, rows [][]string) {
	var line strings.Builder
	var rule strings.Builder
	lines := make([]strings.Builder, len(rows))
	for column := range rows[0] {
		width, empty := 0, column > 0
		for i, row := range rows {
			width = max(width, utf8.RuneCountInString(row[column]))
			empty = empty && (i == 0 || row[column] == "")
		}
		if empty {
			continue
		}
		for i, row := range rows {
			pad := strings.Repeat(" ", width-utf8.RuneCountInString(row[column]))
			if column == 0 {
				fmt.Fprintf(&lines[i], "| %s%s |", row[column], pad)
			} else {
				fmt.Fprintf(&lines[i], " %s%s |", pad, row[column])
			}
		}
		if column == 0 {
			fmt.Fprintf(&rule, "|%s|", strings.Repeat("-", width+2))
		} else {
			fmt.Fprintf(&rule, "%s:|", strings.Repeat("-", width+1))
		}
	}
	for i := range lines {
		line.WriteString(lines[i].String() + "\n")
		if i == 0 {
			line.WriteString(rule.String() + "\n")
		}
	}
	io.WriteString(w, line.String())
}
