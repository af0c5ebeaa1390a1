"""The vocabulary of manufacturers and models: what a header says about the device, in words of this table only.

Comes in: Manufacturer and ManufacturerModelName. Goes out: a maker and a model of the table, OTHER for what is not in
it, None for what is empty. Refuses nothing. Rare devices would single out a hospital, and both attributes are free
text, so nothing else is ever stored.
"""

import re
from functools import lru_cache
from typing import Final

OTHER: Final = "OTHER"
_LONGEST_TEXT: Final = 64

# A word that begins a maker's name in headers -> the maker. Looked for at word boundaries in lower case.
_MAKERS: Final = (
    ("siemens", "Siemens"),
    ("philips", "Philips"),
    ("agfa", "Agfa"),
    ("fuji", "Fujifilm"),
    ("ge medical", "GE"),
    ("ge healthcare", "GE"),
    ("gehc", "GE"),
    ("g.e. medical", "GE"),
    ("general electric", "GE"),
    ("canon", "Canon"),
    ("toshiba", "Toshiba"),
    ("carestream", "Carestream"),
    ("kodak", "Kodak"),
    ("eastman", "Kodak"),
    ("konica", "Konica Minolta"),
    ("minolta", "Konica Minolta"),
    ("samsung", "Samsung"),
    ("shimadzu", "Shimadzu"),
    ("hologic", "Hologic"),
    ("lorad", "Hologic"),
    ("swissray", "Swissray"),
    ("sirona", "Dentsply Sirona"),
    ("dentsply", "Dentsply Sirona"),
    ("planmeca", "Planmeca"),
    ("ziehm", "Ziehm"),
    ("villa sistemi", "Villa"),
    ("stephanix", "Stephanix"),
    ("apelem", "DMS"),
    ("dms", "DMS"),
    ("drtech", "DRTECH"),
    ("rayence", "Rayence"),
    ("vatech", "Vatech"),
    ("varian", "Varian"),
    ("varex", "Varex"),
    ("trixell", "Trixell"),
    ("imaging dynamics", "Imaging Dynamics"),
    ("sedecal", "Sedecal"),
    ("listem", "Listem"),
    ("oehm", "Oehm und Rehbein"),
    ("examion", "Examion"),
    ("iray", "iRay"),
    ("careray", "CareRay"),
    ("mindray", "Mindray"),
    ("united imaging", "United Imaging"),
    ("uih", "United Imaging"),
    ("hitachi", "Hitachi"),
    ("eos imaging", "EOS imaging"),
    ("biospace", "EOS imaging"),
    ("italray", "Italray"),
    ("arcoma", "Arcoma"),
    ("gmm", "GMM"),
    ("del medical", "Del Medical"),
    ("lodox", "Lodox"),
    ("vidar", "Vidar"),
    ("howtek", "Howtek"),
    ("lumisys", "Lumisys"),
    ("imaging technology", "IMS Giotto"),
    ("giotto", "IMS Giotto"),
    ("metaltronica", "Metaltronica"),
    ("trophy", "Trophy"),
    ("morita", "Morita"),
    ("instrumentarium", "Instrumentarium"),
    ("soredex", "Soredex"),
    ("gendex", "Gendex"),
    ("schick", "Schick"),
    ("durr", "Dürr"),
    ("dürr", "Dürr"),
    ("duerr", "Dürr"),
    ("lumiere", "Lumiere"),
)

# Maker -> patterns of its models in lower case without spaces, hyphens and underscores -> the model's name.
_MODELS: Final = {
    "Siemens": (
        (r"ysiomax", "Ysio Max"),
        (r"ysioxpree", "Ysio X.pree"),
        (r"ysio", "Ysio"),
        (r"multixfusion", "Multix Fusion"),
        (r"multiximpact", "Multix Impact"),
        (r"multixselect", "Multix Select"),
        (r"multix", "Multix"),
        (r"aristos", "Axiom Aristos"),
        (r"multitomrax", "Multitom Rax"),
        (r"mobilettmira", "Mobilett Mira"),
        (r"mobilettelara", "Mobilett Elara"),
        (r"mobilett", "Mobilett"),
        (r"luminos", "Luminos"),
        (r"uroskop", "Uroskop"),
        (r"vertix", "Vertix"),
        (r"thorax", "Thorax FD"),
        (r"fluorospotcompact", "Fluorospot Compact"),
        (r"fluorospot", "Fluorospot"),
        (r"mammomat", "Mammomat"),
        (r"artis", "Artis"),
        (r"cios", "Cios"),
    ),
    "Philips": (
        (r"digitaldiagnost", "DigitalDiagnost"),
        (r"proxidiagnost", "ProxiDiagnost"),
        (r"combidiagnost", "CombiDiagnost"),
        (r"mobilediagnost", "MobileDiagnost"),
        (r"buckydiagnost", "BuckyDiagnost"),
        (r"easydiagnost", "EasyDiagnost"),
        (r"pulmodiagnost", "PulmoDiagnost"),
        (r"essenta", "Essenta DR"),
        (r"pcreleva|pcrsystem", "PCR Eleva"),
        (r"eleva", "Eleva"),
        (r"duradiagnost", "DuraDiagnost"),
        (r"allura", "Allura"),
        (r"azurion", "Azurion"),
        (r"microdose", "MicroDose"),
    ),
    "Agfa": (
        (r"adccompact", "ADC Compact"),
        (r"adcsolo", "ADC Solo"),
        (r"adc51\d\d|^51\d\d", "ADC 51xx"),
        (r"cr10x", "CR 10-X"),
        (r"cr12x", "CR 12-X"),
        (r"cr15x", "CR 15-X"),
        (r"cr25", "CR 25"),
        (r"cr30", "CR 30"),
        (r"cr35", "CR 35"),
        (r"cr75", "CR 75"),
        (r"cr85", "CR 85"),
        (r"dxg", "DX-G"),
        (r"dxm", "DX-M"),
        (r"dxs", "DX-S"),
        (r"dxd\d*", "DX-D"),
        (r"dr100", "DR 100"),
        (r"dr400", "DR 400"),
        (r"dr600", "DR 600"),
        (r"dr800", "DR 800"),
        (r"dr14|dr17|dr10", "DR 10/14/17"),
    ),
    "Fujifilm": (
        (r"acselerate", "FDR AcSelerate"),
        (r"devo", "FDR D-EVO"),
        (r"fdrgo", "FDR Go"),
        (r"fdrnano", "FDR nano"),
        (r"fdrsmart", "FDR Smart"),
        (r"profect", "FCR Profect"),
        (r"capsula", "FCR Capsula"),
        (r"carbon", "FCR Carbon"),
        (r"prima", "FCR Prima"),
        (r"xg1|xg5000|xg3000", "FCR XG"),
        (r"velocity", "FCR Velocity"),
        (r"fcr\d{4}", "FCR"),
        (r"crir\d+", "CR-IR"),
        (r"^irs?$", "IRS"),
        (r"amulet|fdrms", "Amulet"),
    ),
    "GE": (
        (r"definium", "Definium"),
        (r"discoveryxr", "Discovery XR"),
        (r"optimaxr", "Optima XR"),
        (r"brivoxr", "Brivo XR"),
        (r"brivodr", "Brivo DR"),
        (r"revolutionxq|revolutionxr", "Revolution XQ/i XR/d"),
        (r"amx", "AMX"),
        (r"thunder", "Thunder Platform"),
        (r"precision", "Precision"),
        (r"silhouette", "Silhouette"),
        (r"proteus", "Proteus"),
        (r"senographeessential", "Senographe Essential"),
        (r"senographeds", "Senographe DS"),
        (r"senographepristina|pristina", "Senographe Pristina"),
        (r"senograph", "Senographe"),
        (r"innova", "Innova"),
        (r"oec", "OEC"),
    ),
    "Canon": ((r"cxdi", "CXDI"), (r"omnera", "OMNERA"), (r"radrex", "Radrex"), (r"ultimax", "Ultimax")),
    "Toshiba": ((r"radrex", "Radrex"), (r"ultimax", "Ultimax"), (r"infinix", "Infinix"), (r"winscope", "Winscope")),
    "Carestream": (
        (r"evolution", "DRX-Evolution"),
        (r"revolution", "DRX-Revolution"),
        (r"ascend", "DRX-Ascend"),
        (r"compass", "DRX-Compass"),
        (r"transportable", "DRX-Transportable"),
        (r"mobile", "DRX-Mobile"),
        (r"innovation", "DRX-Innovation"),
        (r"drx1", "DRX-1"),
        (r"drx", "DRX"),
        (r"classiccr|vitacr|vita", "Vita CR"),
        (r"cr\d{3}", "DirectView CR"),
        (r"dr\d{4}", "DirectView DR"),
        (r"cs\d{4}", "CS dental"),
    ),
    "Kodak": ((r"cr\d{3}", "DirectView CR"), (r"dr\d{4}", "DirectView DR"), (r"pointofcare|poc", "Point-of-Care CR")),
    "Konica Minolta": (
        (r"aerodr", "AeroDR"),
        (r"regius", "Regius"),
        (r"xpress", "Xpress CR"),
        (r"nano", "Nano"),
        (r"sigma", "Regius Sigma"),
        (r"cs7", "CS-7"),
        (r"cs3", "CS-3"),
        (r"cs1", "CS-1"),
    ),
    "Samsung": (
        (r"gc85", "GC85"),
        (r"gc80", "GC80"),
        (r"gc70", "GC70"),
        (r"gm85", "GM85"),
        (r"gm60", "GM60"),
        (r"gu60|xgeogu", "GU60"),
        (r"gf50", "GF50"),
        (r"gr40", "GR40"),
        (r"xgeo", "XGEO"),
    ),
    "Shimadzu": (
        (r"mobiledart", "MobileDaRt"),
        (r"radspeed", "RADspeed"),
        (r"sonialvision", "Sonialvision"),
        (r"fluorospeed", "Fluorospeed"),
        (r"flexavision", "Flexavision"),
        (r"raffine", "RAFFINE"),
        (r"trinias", "Trinias"),
    ),
    "Hologic": (
        (r"selenia", "Selenia"),
        (r"dimensions", "Selenia Dimensions"),
        (r"horizon", "Horizon"),
        (r"discovery", "Discovery"),
        (r"epex|edr|directray", "DirectRay"),
        (r"insight", "Fluoroscan InSight"),
    ),
    "Swissray": ((r"ddr", "ddR"),),
    "Dentsply Sirona": ((r"orthophos", "Orthophos"), (r"heliodent", "Heliodent"), (r"galileos", "Galileos")),
    "Planmeca": ((r"promax", "ProMax"), (r"proline", "ProLine"), (r"prosensor", "ProSensor")),
    "EOS imaging": ((r"eosedge", "EOSedge"), (r"eos", "EOS"), (r"sterpheos", "sterEOS")),
}

_MAKER_PATTERNS: Final = tuple((re.compile(rf"(?<!\w){re.escape(word)}"), maker) for word, maker in _MAKERS)
_GE_ALONE: Final = re.compile(r"\W?ge(?!\w)")  # two letters are a maker only where they begin the text
_MODEL_PATTERNS: Final = {
    maker: tuple((re.compile(pattern), name) for pattern, name in rows) for maker, rows in _MODELS.items()
}
MAKERS: Final = frozenset(maker for _, maker in _MAKERS)
MODELS: Final = frozenset(name for rows in _MODELS.values() for _, name in rows)


@lru_cache(maxsize=4096)
def manufacturer_of(text: str | None) -> str | None:
    """The maker in the vocabulary.

    Example:
        >>> manufacturer_of("FUJI PHOTO FILM CO. LTD."), manufacturer_of("Dr. Smith's Workshop"), manufacturer_of("")
        ('Fujifilm', 'OTHER', None)
    """
    folded = _folded(text)
    if not folded:
        return None
    if _GE_ALONE.match(folded):
        return "GE"
    return next((maker for pattern, maker in _MAKER_PATTERNS if pattern.search(folded)), OTHER)


@lru_cache(maxsize=4096)
def model_of(manufacturer: str | None, text: str | None) -> str | None:
    """The model in the vocabulary, among those of `manufacturer` (a maker of the vocabulary).

    Example:
        >>> model_of("Agfa", "ADC_5146"), model_of("Agfa", "Serial 4711"), model_of(None, "")
        ('ADC 51xx', 'OTHER', None)
    """
    folded = _folded(text)
    if not folded:
        return None
    compact = re.sub(r"[\s_\-./]+", "", folded)
    rows = _MODEL_PATTERNS.get(manufacturer or "", ())
    return next((name for pattern, name in rows if pattern.search(compact)), OTHER)


def _folded(text: str | None) -> str:
    return " ".join((text or "")[:_LONGEST_TEXT].lower().split())
