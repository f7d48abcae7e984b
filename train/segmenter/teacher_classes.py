"""What the classes of other segmentation networks are in the names of our regions.

Both MOSAIC (its 31 commonest) and DeepLab name classes of ADE20K (Zhou et al. 2017). What takes the same light belongs
together, and so does what the labelled photographs call the same: where that is a matter of judgement, the note beside
the class says what was counted on the training half of the labelled photographs.
"""

from hueglass.infer.regions.regions import REGION_NAMES

_NAMES = """
wall building sky floor tree ceiling road bed windowpane grass cabinet sidewalk person earth door table mountain plant
curtain chair car water painting sofa shelf house sea mirror rug field armchair seat fence desk rock wardrobe lamp
bathtub railing cushion base box column signboard chest counter sand sink skyscraper fireplace refrigerator grandstand
path stairs runway case pool pillow screen stairway river bridge bookcase blind coffee toilet flower book hill bench
countertop stove palm kitchen computer swivel boat bar arcade hovel bus towel light truck tower chandelier awning
streetlight booth television airplane dirt apparel pole land bannister escalator ottoman bottle buffet poster stage van
ship fountain conveyer canopy washer plaything swimming stool barrel basket waterfall tent bag minibike cradle oven ball
food step tank trade microwave pot animal bicycle lake dishwasher screen blanket sculpture hood sconce vase traffic tray
ashcan fan pier crt plate monitor bulletin shower radiator glass clock flag
"""
ADE20K = _NAMES.split()
"""The 150 classes in their order, each by the first word of its name."""

_CLASSES = {
    "sky": "sky",
    # Fences as CamVid has them. Of what MOSAIC and DeepLab call wall, photographs call as much building as other.
    "building": "wall building house skyscraper fence railing column bridge hovel tower awning arcade pier",
    # Of plants (in pots as well) half are vegetation, the other half other.
    "vegetation": "tree grass plant field palm flower",
    # More than half of the mountains are ground, an eighth vegetation; of rocks under half, a third other.
    "ground": "floor road sidewalk earth mountain rug rock sand path runway stairs stairway step hill dirt land",
    "water": "water sea river lake pool swimming waterfall fountain",
    "vehicle": "car bus truck van boat ship airplane minibike bicycle",
    "person": "person apparel",
    # Else other, the indoors with it: ceilings, windows, doors (60 to 84 % of them), furniture; animals, tents.
}
_REGION = {name: region for region, names in _CLASSES.items() for name in names.split()}


def region_of(name: str) -> str:
    """The region of a class of ADE20K; "other" for whatever has none of its own."""
    return _REGION.get(name, "other")


DEEPLAB_REGIONS: tuple[str | None, ...] = ("other", *map(region_of, ADE20K))
"""Of its 151 scores. The first is for what is none of the 150."""
MOSAIC_REGIONS: tuple[str | None, ...] = (None, *map(region_of, ADE20K[:31]))
"""Of its 32 scores. The first was never trained: it does not count."""
SELFIE_REGIONS: tuple[str | None, ...] = ("person",)

assert set(_CLASSES) < set(REGION_NAMES)
