package main

// disks are hazards of TestHazards.
var disks = []hazard{}
