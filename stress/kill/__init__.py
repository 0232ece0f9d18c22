"""kill stub"""
