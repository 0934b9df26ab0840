"""(design note to come with the room)"""
