"""Models that write what comes next: TIGER, LC-Rec and P5 its identifier, BIGRec its title."""
