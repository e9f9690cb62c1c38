"""The dock Neuroscope: a network, a layer, a class and a method are chosen, and explained."""
