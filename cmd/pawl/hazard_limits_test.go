package main

// limits are hazards of TestHazards.
var limits = []hazard{}
