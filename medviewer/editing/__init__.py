"""The mask editor without a window: strokes, rules, undo, tools."""
