"""The simulator: whole lives of a sink in virtual time, from one number, every promise checked after every step."""
