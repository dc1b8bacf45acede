package main

// breaks are hazards of TestHazards.
var breaks = []hazard{}
