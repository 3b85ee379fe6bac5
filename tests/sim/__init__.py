"""The simulator: whole lives of a sink in virtual time, drawn from one number, with every promise checked after every step."""
