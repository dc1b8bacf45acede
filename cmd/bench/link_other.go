//go:build !linux

package main

import (
	"errors"
	"net"
)

// A link is a real TCP path on this machine. There are none on this system.
type link struct{}

func newLink(Shape, string) (*link, error) { return nil, errors.New("links need Linux") }

func (l *link) listen() (net.Listener, error)   { return nil, errors.ErrUnsupported }
func (l *link) dial(string) (net.Conn, error)   { return nil, errors.ErrUnsupported }
func (l *link) atServer(argv []string) []string { return argv }
func (l *link) atClient(argv []string) []string { return argv }
func (l *link) close()                          {}
