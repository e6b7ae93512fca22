"""The words: pure data, and the rules that hold for every value of it. Imports nothing else of ours."""
