package main

// signalHazards are hazards of TestHazards.
var signalHazards = []hazard{}
