package main

// states are hazards of TestHazards.
var states = []hazard{}
