"""Titles and abstracts of imaginary chemistry: a small grammar that keeps to one substance, one method and one set of numbers for a whole paper.

Every name is made up; nobody who exists is cited, and no compound here should be taken internally.
"""

from dataclasses import dataclass
from random import Random

_ADJECTIVES = (
    "Absent-Minded", "Aspirational", "Bashful", "Borrowed", "Courteous", "Diplomatic", "Elusive", "Forgetful", "Freelance", "Homesick",
    "Hypothetical", "Insomniac", "Introverted", "Left-Handed", "Melancholy", "Nocturnal", "Nostalgic", "Overqualified", "Part-Time", "Polite",
    "Reluctant", "Sceptical", "Second-Hand", "Sentimental", "Superstitious", "Theatrical", "Undecided", "Unhurried", "Wayward", "Well-Read",
)  # fmt: skip
_COMPOUNDS = (
    "Alkenes", "Allenes", "Azides", "Benzynes", "Boronic Esters", "Carbenes", "Crown Ethers", "Cyclobutadienes", "Cyclopropanes", "Diazines",
    "Enolates", "Fulvenes", "Helicenes", "Indoles", "Ketenes", "Lactones", "Metallocenes", "Naphthalenes", "Nitrones", "Orthoesters", "Oxetanes",
    "Peroxides", "Porphyrins", "Pyrroles", "Rotaxanes", "Silanes", "Spiroketals", "Sulfoxides", "Thioethers", "Ylides",
)  # fmt: skip
_REACTIONS = (
    ("Asymmetric Procrastination", "proceeds only when nobody is waiting for it"),
    ("Cross-Examination Coupling", "joins two halves that had each denied knowing the other"),
    ("Retro-Nostalgic Cycloaddition", "returns the ring to how it remembers having been"),
    ("Ring-Opening Apology", "releases 26 kcal/mol of strain and most of the resentment"),
    ("C–H Deactivation", "leaves every bond exactly as it was found"),
    ("Wish-Fulfilment Oxidation", "gives the product that was drawn on the blackboard"),
    ("Umpolung of Opinion", "inverts the polarity of the carbonyl group and of the third referee"),
    ("Chain-Walking Isomerization", "moves the double bond along the chain at a leisurely pace"),
    ("Stereoambivalent Reduction", "delivers both enantiomers and regrets neither"),
    ("Daydream Metathesis", "exchanges partners while the stirrer is looking elsewhere"),
    ("Hydrogen Borrowing with Late Return", "gives the hydrogen back, with interest, after the weekend"),
    ("Decarboxylative Sighing", "loses carbon dioxide in one long breath"),
    ("Photoredox Moonlighting", "runs a second reaction after hours in the same flask"),
    ("Template-Free Improvisation", "assembles the macrocycle without being told how"),
)
_CATALYSTS = (
    "a palladium complex of mixed feelings", "an iron catalyst found behind the oven", "a lukewarm Lewis acid",
    "a chiral phosphine that insists on its handedness", "one drop of concentrated irony", "a copper(I) salt of noble intentions",
    "a nickel catalyst in the oxidation state +½", "a frustrated Lewis pair and its mediator", "a biscuit-supported gold catalyst",
    "an organocatalyst obtained from cold tea", "a photocatalyst that works by candlelight", "i-PHOS, an imaginary-number ligand",
)  # fmt: skip
_MATERIALS = (
    "Metal–Organic Furniture", "Porous Arguments", "Self-Doubting Polymers", "Quantum Dots and Dashes", "Knots That Untie When Watched",
    "Perovskites with a Sense of Occasion", "Two-Dimensional Gossip", "Liquid Crystals That Hold a Grudge", "Nanoparticles of Uncertain Number",
    "Gels That Remember Breakfast", "Covalent Rumour Frameworks", "Janus Particles in Two Minds",
)  # fmt: skip
_METHODS = (
    ("Operando Eavesdropping", "Operando eavesdropping at 40 Hz"),
    ("Density Wishful Theory", "Density wishful theory with a generous basis set"),
    ("Time-Resolved Hindsight", "Time-resolved hindsight, with a dead time of one week,"),
    ("Two-Dimensional Gossip Spectroscopy", "Two-dimensional gossip spectroscopy"),
    ("Neutron Regret", "Neutron reflection, followed by neutron regret,"),
    ("Single-Molecule Biography", "Single-molecule biography"),
    ("Machine Unlearning", "A neural network that had been told the answer"),
    ("X-ray Crystallography of the Soul", "A crystal structure at 0.8 Å"),
)
_USES = (
    "the Storage of Tuesday Afternoons", "Biodegradable Deadlines", "Catalytic Small Talk", "the Desalination of Tears", "Reversible Decisions",
    "Low-Power Enlightenment", "the Slow Release of Good News", "Carbon-Neutral Excuses", "the Capture of Fleeting Thoughts",
    "Fluorescent Second Opinions", "the Sensing of Awkward Silences", "Room-Temperature Superconversation",
)  # fmt: skip
_SOLVENTS = (
    "acetonitrile",
    "rainwater",
    "2-methyltetrahydrofuran",
    "wet toluene",
    "lukewarm ethanol",
    "a deep eutectic mood",
    "hexanes of unknown parentage",
)
_SURPRISES = (
    "The blue colour, which everybody had attributed to cobalt, turned out to be Monday.",
    "Control experiments without a flask gave a lower yield.",
    "A single by-product was isolated, characterised and forgiven.",
    "The reaction tolerates alcohols, amines, esters and interruptions.",
    "Scale-up to 12 g was uneventful apart from the applause.",
    "An attempt to repeat the experiment on a Friday was abandoned by mutual consent.",
    "Kinetics are first order in substrate, half order in catalyst and zeroth order in enthusiasm.",
    "The rate is independent of stirring, but not of being watched.",
    "Deuterium labelling shows that the hydrogen comes from the other hydrogen.",
    "Removal of the directing group left the molecule without direction.",
    "All attempts to grow a second crystal ended in conversation.",
    "The mass balance closes to within one teaspoon.",
    "Radical traps caught nothing but a cold.",
    "The Arrhenius plot is straight when held at the correct angle.",
)
_OUTLOOKS = (
    "These results suggest that {subject} deserve a second date.",
    "We expect {subject} to find use wherever patience is in short supply.",
    "The findings extend the periodic table sideways and invite further study over lunch.",
    "A theory that explains the exceptions, but not the rule, is proposed.",
    "The procedure has been repeated by three people, one of whom exists.",
    "Preliminary work indicates that the opposite is also true.",
    "Whether the effect persists outside the imagination is under active discussion.",
    "Our results close a gap in the literature that we had to open first.",
    "Applications in {use} are within reach of a longer arm.",
    "This settles a question that had not been asked since last spring.",
)
# What a picture shows, by the pattern of its title.
_SCENES = ("reaction", "particles", "spectrum", "links", "cycle", "framework", "energies", "flask")
_SURNAMES = (
    "Beaker", "Burette", "Clampstand", "Crucible", "Desiccator", "Fumehood", "Funnel", "Gauze", "Goggles", "Labcoat", "Mortar", "Pestle",
    "Pipette", "Retort", "Rotavap", "Septum", "Spatula", "Stirbar", "Stopcock", "Testtube", "Tripod", "Vial",
)  # fmt: skip
_REVISIONS = (
    "A sign error has been corrected; the conclusion now points the other way.",
    "The yield has been measured again by daylight.",
    "The authors have since changed their minds about the intermediate.",
    "A missing decimal point was found under the balance and has been put back.",
)


@dataclass(frozen=True)
class Written:
    """title and abstract: plain Unicode text; ₂ and the like stand for what a page may mark up.

    subject: a few words, for a picture's label. scene, tone: what it shows, by the pattern of the title, and in which colours, by the compound.
    """

    title: str
    abstract: str
    authors: tuple[str, ...]
    subject: str
    scene: str = ""
    tone: int | None = None


def write_paper(seed: int, number: int, revision: int = 0) -> Written:
    """Paper `number`; another revision changes its abstract and nothing else."""
    # All choices come from one generator in this order; a new choice in the middle would rewrite every paper, so it would go to the end.
    random = Random(f"letters {seed} {number}")
    adjective, compound = random.choice(_ADJECTIVES), random.choice(_COMPOUNDS)
    reaction, habit = random.choice(_REACTIONS)
    method, method_sentence = random.choice(_METHODS)
    material, use, catalyst = random.choice(_MATERIALS), random.choice(_USES), random.choice(_CATALYSTS)
    subject = f"{adjective} {compound}"
    pattern = random.randrange(8)
    title = (
        f"{reaction} of {subject}",
        f"Toward {use}: {material} from {subject}",
        f"{method} Reveals the Inner Life of {subject}",
        f"{subject} as Building Blocks for {use}",
        f"Catalytic {reaction} of {compound}: A Tale of Two {random.choice(('Flasks', 'Solvents', 'Spin States', 'Reviewers'))}",
        f"{material} for {use}: The Case of {subject}",
        f"On the Existence of {subject}, Part {random.choice(('II', 'III', 'IV', 'VII', 'XIX'))}",
        f"What {subject} Do at Night: {method} of {material}",
    )[pattern]
    about = (material if pattern == 5 else subject).lower()
    equivalents, mol_percent = random.randrange(2, 9), random.choice(("0.5", "1", "2.5", "5", "10"))
    yields, ee = sorted(random.sample(range(31, 99), 2)), random.randrange(50, 100)
    temperature, hours, examples = random.choice((-78, -40, -15, 0, 23, 40, 65, 110)), random.choice((2, 6, 12, 18, 36, 72)), random.randrange(14, 61)
    celsius = f"{temperature} °C".replace("-", "−")
    opening = random.choice(_openings(about, examples))
    solvent = random.choice(_SOLVENTS)
    core = random.choice(_cores(reaction, habit, catalyst, f"{mol_percent} mol %", solvent, celsius, hours, equivalents))
    result = random.choice(_results(yields[0], yields[1], ee, examples, celsius))
    insight = f"{method_sentence} {random.choice(_insights(random))}"
    outlook = random.choice(_OUTLOOKS).format(subject=about, use=use.lower().replace("tuesday", "Tuesday"))
    sentences = [opening, core, result, insight, random.choice(_SURPRISES), outlook]
    if random.random() < 0.3:
        sentences.pop(4)
    if revision:
        sentences.append(f"{_REVISIONS[(number + revision) % len(_REVISIONS)]} (Revision {revision}.)")
    authors = tuple(f"{random.choice('ABCDEFGHIJKLMNOPQRSTUVWXYZ')}. {name}" for name in random.sample(_SURNAMES, random.randrange(1, 5)))
    return Written(title, " ".join(sentences), authors, subject, _SCENES[pattern], _COMPOUNDS.index(compound))


def _openings(about: str, examples: int) -> tuple[str, ...]:
    return (
        f"For decades, {about} were believed to be unreactive, unstable or fictitious.",
        f"{about[0].upper()}{about[1:]} have long been avoided at parties and in synthesis.",
        f"Few compounds divide the community as cleanly as {about}.",
        f"Here we report on {about}, which we had assumed somebody else was working on.",
        f"The chemistry of {about} has remained unexplored, partly out of respect.",
        f"It is generally agreed that {about} cannot exist; we describe {examples} examples.",
        f"Although {about} are mentioned in every textbook, nobody has read that page.",
    )


def _cores(reaction: str, habit: str, catalyst: str, loading: str, solvent: str, celsius: str, hours: int, equivalents: int) -> tuple[str, ...]:
    name = reaction if reaction.startswith("C–H") else reaction.lower()
    return (
        f"We show that {name.replace('Deactivation', 'deactivation')} with {catalyst} ({loading}) in {solvent} at {celsius} {habit}.",
        f"In the presence of {catalyst}, {solvent} and {equivalents} equiv of H₂O, the reaction {habit}.",
        f"With {catalyst} ({loading}), the transformation is complete after {hours} h at {celsius} and {habit}.",
    )


def _results(low: int, high: int, ee: int, examples: int, celsius: str) -> tuple[str, ...]:
    return (
        f"The products were obtained in {low}–{high}% yield and up to {ee}% ee over {examples} substrates.",
        f"Yields of {low} to {high}% were reached, {ee}% of them on the first attempt.",
        f"An average yield of {high}% ({examples} examples, {ee}% of them genuine) compares well with the {low}% expected by chance.",
        f"At {celsius} the selectivity rises from {low}:{100 - low} to {ee}:{100 - ee} and stays there out of habit.",
    )


def _insights(random: Random) -> tuple[str, ...]:
    barrier, members = f"{random.randrange(8, 31)}.{random.randrange(10)}", random.choice(("four", "five", "six", "seven"))
    lifetime = f"{random.randrange(2, 900)} {random.choice(('fs', 'ps', 'ns', 'coffee breaks'))}"
    place = random.choice(("above the plane", "below suspicion", "in the next room", "within reason"))
    return (
        f"points to a {members}-membered transition state {barrier} kcal/mol above reproach.",
        f"shows an intermediate with a lifetime of {lifetime}.",
        "rules out the accepted mechanism, the alternative mechanism and lunch.",
        f"places the π electrons {place}.",
    )
