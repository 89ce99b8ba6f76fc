"""The exercises of the lessons as data: `lesson_NN.EXERCISES`, from a name to an `Exercise`."""
