package main

// names are hazards of TestHazards.
var names = []hazard{}
