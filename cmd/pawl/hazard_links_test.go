package main

// links are hazards of TestHazards.
var links = []hazard{}
