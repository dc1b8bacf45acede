package main

// changes are hazards of TestHazards.
var changes = []hazard{}
